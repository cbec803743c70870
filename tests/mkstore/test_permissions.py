"""Permissions: NATS lets a service do what its document says, and nothing else."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import nats as nats_client
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from contracts.streams import STREAMS
from kit.messaging import streams
from kit.messaging.broker import inbox_prefix
from mkstore import permissions
from mkstore.services import SERVICES
from mkstore.stack.servers import Login, NatsServer

NAMES = [spec.name for spec in SERVICES]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """A server that knows the services as `mkstore up` has it know them."""
    logins = [Login(name, permissions=permissions.documented(name)) for name in NAMES]
    with NatsServer(tmp_path_factory.mktemp("permissions"), others=logins) as running:
        yield running


class Somebody:
    """A service's connection, and what it is refused."""

    def __init__(self, client: Client, refused: asyncio.Queue[str]) -> None:
        self.client = client
        self.refused = refused

    async def is_refused(self) -> str:
        """Return what the server said to the last thing that was tried; empty where it let it."""
        for _ in range(2):  # a first PING may overtake what is buffered
            await self.client.flush()
        return self.refused.get_nowait() if self.refused.qsize() else ""


@pytest.fixture
async def somebody(server: NatsServer, request: pytest.FixtureRequest) -> AsyncIterator[Somebody]:
    """The service that the test names."""
    refused: asyncio.Queue[str] = asyncio.Queue()

    async def remember(error: Exception) -> None:
        await refused.put(str(error))

    client = await nats_client.connect(
        server.url_as(request.param, server.port), inbox_prefix=inbox_prefix(request.param), error_cb=remember
    )
    yield Somebody(client, refused)
    await client.close()


@pytest.mark.parametrize(
    ("somebody", "subject"),
    [
        ("users", "payment.created"),
        ("users", "payments.create.1"),
        ("users", "payments.get_many"),
        ("users", "dead.payments.create.1"),
        ("payments", "user.created"),
        ("payments", "users.get_many"),
        ("payments", "dead.users.get_many"),
        ("gateway", "payment.created"),
        ("gateway", "user.deleted"),
        ("gateway", "users.get_many"),
        ("gateway", "dead.payments.create.1"),
        *((name, subject) for name in NAMES for subject in ("$JS.API.STREAM.DELETE.USER_EVENTS", "_INBOX.others.1")),
    ],
    indirect=["somebody"],
)
async def test_service_may_not_publish_foreign_subjects(somebody: Somebody, subject: str) -> None:
    await somebody.client.publish(subject, b"{}")
    assert "permissions violation for publish" in (await somebody.is_refused()).lower()


@pytest.mark.parametrize(
    ("somebody", "subject", "queue"),
    [
        ("users", "payments.get_many", "payments"),
        ("users", "users.get_many", ""),  # beside the group it would hear what one of the group answers
        ("payments", "users.authenticate", "users"),
        ("payments", "payment.created", ""),
        ("gateway", "users.authenticate", "users"),
        ("gateway", "payments.create.*", ""),
        *((name, subject, "") for name in NAMES for subject in (">", "_INBOX.>", "$SYS.>")),
    ],
    indirect=["somebody"],
)
async def test_service_may_not_subscribe_to_foreign_subjects(somebody: Somebody, subject: str, queue: str) -> None:
    await somebody.client.subscribe(subject, queue=queue)
    assert "permissions violation for subscription" in (await somebody.is_refused()).lower()


@pytest.mark.parametrize(
    ("somebody", "subject"),
    [("users", "user.created"), ("payments", "payment.rejected"), ("gateway", "payments.create.1")],
    indirect=["somebody"],
)
async def test_service_may_publish_its_own_messages(somebody: Somebody, subject: str) -> None:
    await somebody.client.publish(subject, b"{}")
    assert await somebody.is_refused() == ""


@pytest.mark.parametrize("somebody", ["users"], indirect=True)
async def test_service_may_reply_once(server: NatsServer, somebody: Somebody) -> None:
    async def answer(message: Msg) -> None:
        await message.respond(b"1")
        await message.respond(b"2")

    await somebody.client.subscribe("users.get_many", queue="users", cb=answer)
    await somebody.client.flush()
    asker = await nats_client.connect(server.admin_url)
    try:
        assert (await asker.request("users.get_many", b"{}")).data == b"1"
    finally:
        await asker.close()
    assert "permissions violation for publish" in (await somebody.is_refused()).lower()


@pytest.mark.parametrize("somebody", ["payments"], indirect=True)
async def test_payments_may_provision_every_stream(somebody: Somebody) -> None:
    await streams.provision(somebody.client.jetstream(), STREAMS)
    assert await somebody.is_refused() == ""
