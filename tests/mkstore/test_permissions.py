"""NATS permissions: a service may do what its document describes, and nothing else."""

import json

import nats as nats_client
import pytest
from nats.aio.msg import Msg

from contracts.consumers import durables
from contracts.logins import IMPORTED_API
from contracts.streams import KEYED_PAYMENT_COMMANDS, STREAMS
from kit.asyncapi.reader import DocumentReader
from kit.messaging import streams
from mkstore.stack.servers import NatsServer
from tests.conftest import ROOT
from tests.mkstore.conftest import NAMES, Connection

FOREIGN = (
    "$JS.API.STREAM.INFO.USER_EVENTS",
    f"{IMPORTED_API}.STREAM.DELETE.USER_EVENTS",
    "$SYS.REQ.SERVER.PING",
    "_INBOX.others.1",
)


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
        ("gateway", f"{IMPORTED_API}.STREAM.PURGE.KEYED_PAYMENT_COMMANDS"),
        ("users", f"{IMPORTED_API}.STREAM.PURGE.KEYED_PAYMENT_COMMANDS"),
        ("payments", f"{IMPORTED_API}.STREAM.PURGE.PAYMENT_COMMANDS"),
        ("payments", f"{IMPORTED_API}.STREAM.PURGE.PAYMENT_EVENTS"),
        *((name, subject) for name in NAMES for subject in FOREIGN),
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


@pytest.mark.parametrize("connection", NAMES, indirect=True)
async def test_service_may_check_its_streams_and_consumers(connection: Connection) -> None:
    document = json.loads((ROOT / f"asyncapi/{connection.service}.json").read_text())
    used = {operation.x_nats.get("stream") for operation in DocumentReader(document).operations}
    jetstream = connection.client.jetstream(prefix=IMPORTED_API)
    await streams.check(jetstream, [stream for stream in STREAMS if stream.name in used])
    for durable in (each for each in durables() if each.service == connection.service):
        config = streams.consumer_config(durable)
        await streams.check_consumer(jetstream, durable.stream.name, config)
    assert await connection.error() == ""


@pytest.mark.parametrize("connection", ["payments"], indirect=True)
async def test_payments_may_purge_the_memory_of_keys(connection: Connection) -> None:
    await connection.client.publish(f"{IMPORTED_API}.STREAM.PURGE.{KEYED_PAYMENT_COMMANDS.name}", b"")
    assert await connection.error() == ""
