"""NATS permissions: a service may do what its document describes, and nothing else."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import nats as nats_client
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from contracts.inboxes import inbox_prefix
from contracts.streams import KEYED_PAYMENT_COMMANDS, STREAMS, USER_EVENTS
from kit.messaging import streams
from mkstore import permissions
from mkstore.services import SERVICES
from mkstore.stack.servers import Login, NatsServer

NAMES = [spec.name for spec in SERVICES]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """A server with the logins that `mkstore up` creates."""
    logins = [Login(name, permissions=permissions.documented(name)) for name in NAMES]
    with NatsServer(tmp_path_factory.mktemp("permissions"), others=logins) as running:
        yield running


class Connection:
    """A service's connection and its permission errors."""

    def __init__(self, client: Client, errors: asyncio.Queue[str]) -> None:
        self.client = client
        self._errors = errors

    async def error(self) -> str:
        """Return the error of the last operation; empty if it was allowed."""
        for _ in range(2):  # a first PING may overtake what is buffered
            await self.client.flush()
        return self._errors.get_nowait() if self._errors.qsize() else ""


@pytest.fixture
async def connection(server: NatsServer, request: pytest.FixtureRequest) -> AsyncIterator[Connection]:
    """The connection of the service in the test's parameter."""
    errors: asyncio.Queue[str] = asyncio.Queue()

    async def remember(error: Exception) -> None:
        await errors.put(str(error))

    client = await nats_client.connect(
        server.url_as(request.param, server.port), inbox_prefix=inbox_prefix(request.param), error_cb=remember
    )
    yield Connection(client, errors)
    await client.close()


@pytest.mark.parametrize(
    ("connection", "subject"),
    [
        ("users", "payment.created"),
        ("users", "payments.create.key.1"),
        ("users", "payments.get_many"),
        ("users", "dead.payments.create.key.1"),
        ("payments", "user.created"),
        ("payments", "users.get_many"),
        ("payments", "dead.users.get_many"),
        ("gateway", "payment.created"),
        ("gateway", "user.deleted"),
        ("gateway", "users.unknown"),
        ("gateway", "dead.payments.create.key.1"),
        ("gateway", "$JS.API.STREAM.PURGE.KEYED_PAYMENT_COMMANDS"),
        ("users", "$JS.API.STREAM.PURGE.KEYED_PAYMENT_COMMANDS"),
        ("payments", "$JS.API.STREAM.PURGE.PAYMENT_COMMANDS"),
        ("payments", "$JS.API.STREAM.PURGE.PAYMENT_EVENTS"),
        *((name, subject) for name in NAMES for subject in ("$JS.API.STREAM.DELETE.USER_EVENTS", "_INBOX.others.1")),
    ],
    indirect=["connection"],
)
async def test_service_may_not_publish_foreign_subjects(connection: Connection, subject: str) -> None:
    await connection.client.publish(subject, b"{}")
    assert "permissions violation for publish" in (await connection.error()).lower()


@pytest.mark.parametrize(
    ("connection", "subject", "queue"),
    [
        ("users", "payments.get_many", "payments"),
        ("users", "users.get_many", ""),  # outside its queue group it would receive a copy of every request
        ("payments", "users.authenticate", "users"),
        ("payments", "payment.created", ""),
        ("gateway", "users.authenticate", "users"),
        ("gateway", "payments.create.key.*", ""),
        ("gateway", "payments.create.batch.*", ""),
        *((name, subject, "") for name in NAMES for subject in (">", "_INBOX.>", "$SYS.>")),
    ],
    indirect=["connection"],
)
async def test_service_may_not_subscribe_to_foreign_subjects(connection: Connection, subject: str, queue: str) -> None:
    await connection.client.subscribe(subject, queue=queue)
    assert "permissions violation for subscription" in (await connection.error()).lower()


@pytest.mark.parametrize(
    ("connection", "subject"),
    [
        ("users", "user.created"),
        ("payments", "payment.rejected"),
        ("gateway", "payments.create.key.1"),
        ("gateway", "payments.create.batch.1"),
    ],
    indirect=["connection"],
)
async def test_service_may_publish_its_own_messages(connection: Connection, subject: str) -> None:
    await connection.client.publish(subject, b"{}")
    assert await connection.error() == ""


@pytest.mark.parametrize("connection", ["users"], indirect=True)
async def test_service_may_reply_once(server: NatsServer, connection: Connection) -> None:
    async def reply_twice(message: Msg) -> None:
        await message.respond(b"1")
        await message.respond(b"2")

    await connection.client.subscribe("users.get_many", queue="users", cb=reply_twice)
    await connection.client.flush()
    requester = await nats_client.connect(server.admin_url)
    try:
        assert (await requester.request("users.get_many", b"{}")).data == b"1"
    finally:
        await requester.close()
    assert "permissions violation for publish" in (await connection.error()).lower()


@pytest.mark.parametrize("connection", ["payments"], indirect=True)
async def test_payments_may_provision_every_stream_that_it_uses(connection: Connection) -> None:
    used = [stream for stream in STREAMS if stream.owner != "users" or stream is USER_EVENTS]
    await streams.provision(connection.client.jetstream(), used)
    assert await connection.error() == ""


@pytest.mark.parametrize("connection", ["payments"], indirect=True)
async def test_payments_may_purge_the_memory_of_keys(connection: Connection) -> None:
    await connection.client.publish(f"$JS.API.STREAM.PURGE.{KEYED_PAYMENT_COMMANDS.name}", b"")
    assert await connection.error() == ""
