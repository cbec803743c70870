"""A revocation that is committed reaches the gateways although the users service is killed before it publishes it."""

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from uuid import UUID

import pytest

from contracts.revocations import SessionRevocation, UserRevocation
from contracts.sessions import Authenticate, IssuedSession, RefreshSession, RevokeSessions
from contracts.streams import REVOCATIONS
from contracts.users import CreateUser
from kit.errors import OutcomeUnknown, Refusal, RemoteProblem, Unavailable
from kit.messaging.broker import Broker
from kit.messaging.client import RequestClient
from kit.messaging.reader import last_bodies
from kit.runtime.failpoints import AFTER_COMMIT
from mkstore.stack.servers import NatsServer
from mkstore.testing.signing_keys import SECRET
from tests.conftest import NewDatabase
from tests.support.polling import eventually
from tests.support.service_processes import ServiceProcess, connect, run_service
from tests.support.users_harness import PASSWORD, new_email

Change = Callable[[RequestClient, IssuedSession], Awaitable[object]]


async def sign_out(client: RequestClient, session: IssuedSession) -> object:
    return await client.request(RevokeSessions(user_id=session.user_id, session_id=session.id))


async def sign_out_everywhere(client: RequestClient, session: IssuedSession) -> object:
    return await client.request(RevokeSessions(user_id=session.user_id))


async def stored(broker: Broker, address: str) -> bytes | None:
    return (await last_bodies(broker.jetstream, REVOCATIONS, [address])).get(address)


def address_of(change: Change, session: IssuedSession) -> str:
    whom: UUID = session.id if change is sign_out else session.user_id
    kind = SessionRevocation if change is sign_out else UserRevocation
    return kind.subject.partition("{")[0] + str(whom)


@pytest.mark.parametrize("change", [sign_out, sign_out_everywhere])
async def test_committed_revocation_is_published_after_a_kill(
    tmp_path: Path, nats_server: NatsServer, new_database: NewDatabase, change: Change
) -> None:
    environment: Mapping[str, str] = {
        **new_database("users"),
        "NATS_URL": nats_server.url,
        "JWT_SECRET": SECRET.get_secret_value(),
        "FAILPOINTS": str(tmp_path),
    }
    async with connect(nats_server.url) as broker:
        client = RequestClient(broker, timeout=5)
        async with run_service("users", tmp_path, environment) as users:
            await users.wait_ready()
            email = new_email()
            await client.request(CreateUser(email=email, password=PASSWORD))
            session = await client.request(Authenticate(email=email, password=PASSWORD))
            address = address_of(change, session)
            await change_and_die(users, tmp_path, change(client, session))
            assert await stored(broker, address) is None  # committed, and not published
        async with run_service("users", tmp_path, environment) as users:
            await users.wait_ready()
            assert await eventually(lambda: stored(broker, address), describe=lambda: users.text)
            with pytest.raises(RemoteProblem, match="sign in again"):
                await client.request(RefreshSession(refresh_token=session.refresh_token))


async def change_and_die(users: ServiceProcess, folder: Path, change: Awaitable[object]) -> None:
    """Send a change, and wait until the process has killed itself after the commit."""
    (folder / f"users.{AFTER_COMMIT}").touch()
    with pytest.raises((OutcomeUnknown, Unavailable, Refusal)):
        await change
    await users.wait_exit()
