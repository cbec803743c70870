"""Events for a stream that is full wait in the outbox, and are published once the stream is larger."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contracts.streams import USER_EVENTS
from contracts.users import CreateUser
from kit.messaging.client import RequestClient
from kit.ops.provisioning import Sizes, provision
from mkstore.testing.signing_keys import SECRET
from tests.support.killable_servers import KillableServers, killable_servers
from tests.support.polling import eventually
from tests.support.service_harness import stored_events
from tests.support.service_processes import connect, run_service
from tests.support.users_harness import PASSWORD, new_email


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[KillableServers]:
    with killable_servers(tmp_path, "users") as servers:
        yield servers


async def test_events_wait_while_their_stream_is_full(tmp_path: Path, servers: KillableServers) -> None:
    """The operator raises the size; the service is not restarted."""
    environment = servers.environment | {"JWT_SECRET": SECRET.get_secret_value(), "OUTBOX_LAG_WARNING": "0.1"}
    async with run_service("users", tmp_path, environment) as users, connect(servers.nats.url) as broker:
        await users.wait_ready()
        ids: list[str] = []

        async def create() -> str:
            user = await RequestClient(broker, timeout=10).request(CreateUser(email=new_email(), password=PASSWORD))
            return str(user.id)

        async def published() -> list[str]:
            return [str(each.event.aggregate_id) for each in await stored_events(broker, USER_EVENTS, "users")]

        async def all_published() -> bool:
            return await published() == ids

        async def two_wait() -> bool:
            report: dict[str, Any] = await users.health()
            check = report["checks"]["outbox-lag"]
            warns = (report["status"], check["status"]) == ("ok", "warning")
            return warns and check["reason"].startswith("The outbox holds 2 unpublished events")

        ids.append(await create())
        await eventually(published)
        used = (await broker.jetstream.stream_info(USER_EVENTS.name)).state.bytes
        await provision(servers.nats.url, Sizes(event_stream_bytes=used))
        ids += [await create(), await create()]
        await eventually(two_wait, describe=lambda: users.text)
        assert await published() == ids[:1]

        await provision(servers.nats.url, Sizes(event_stream_bytes=used * 10))
        await eventually(all_published, describe=lambda: users.text)
