"""`mkstore keys` and `mkstore sessions` with the users service on real servers."""

import asyncio
import json
from typing import Any
from uuid import UUID

from typer.testing import CliRunner

from contracts.sessions import Authenticate, ListSessions
from mkstore.cli.main import app
from mkstore.stack.servers import NatsServer
from tests.conftest import NewDatabase
from tests.support.users_harness import PASSWORD, low_cost, on_servers
from tests.users.conftest import settings_for


async def test_operator_rotates_keys_and_ends_sessions(nats_server: NatsServer, new_database: NewDatabase) -> None:
    async def mkstore(*command: str) -> Any:
        arguments, environment = [*command, "--json"], {"NATS_URL": nats_server.url}
        done = await asyncio.to_thread(CliRunner().invoke, app, arguments, env=environment)
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    async with on_servers(low_cost(settings_for(new_database("users"), nats_server.url))) as service:
        (active,) = await mkstore("keys", "list")
        (following,) = await mkstore("keys", "rotate")
        assert (active["state"], following["state"]) == ("active", "next")
        assert [key["kid"] for key in await mkstore("keys", "list")] == [following["kid"], active["kid"]]

        user = await service.new_user()
        for _ in range(3):
            await service.request(Authenticate(email=user.email, password=PASSWORD))
        sessions = [UUID(row["id"]) for row in await mkstore("sessions", "list", user.email)]
        assert sessions == [each.id for each in (await service.request(ListSessions(user_id=user.id))).data]
        await mkstore("sessions", "revoke", str(sessions[0]), "--user", user.email)
        assert [UUID(row["id"]) for row in await mkstore("sessions", "list", str(user.id))] == sessions[1:]
        await mkstore("sessions", "revoke", "--user", user.email)
        assert await mkstore("sessions", "list", user.email) == []
