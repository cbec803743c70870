"""Where a stolen login sends the answers to its requests: JetStream and services answer on any subject that it names.

In one account with the streams nats-server 2.15.1 executes and stores such answers without a look at the login's
rights: it deletes and purges streams, and keeps forged keys.
"""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import nats as nats_client
import pytest
from nats.aio.msg import Msg

from contracts.logins import IMPORTED_API, JETSTREAM_API, WATCHER
from contracts.streams import DEAD_LETTERS, KEYED_PAYMENT_COMMANDS, STORED, STREAMS, covers
from kit.messaging import streams
from kit.messaging.broker import Broker
from mkstore import rights
from mkstore.rights import Rights
from mkstore.stack.servers import NatsServer
from tests.mkstore.conftest import NAMES, Connection
from tests.support.polling import eventually
from tests.support.service_processes import connect

LETTER = "dead.user.created"
API = (
    "STREAM.DELETE.DEAD_LETTERS",
    "STREAM.PURGE.KEYED_PAYMENT_COMMANDS",
    "STREAM.PURGE.REVOCATIONS",
    "STREAM.UPDATE.DEAD_LETTERS",
    "STREAM.MSG.DELETE.PUBLIC_KEYS",
    "CONSUMER.DELETE.KEYED_PAYMENT_COMMANDS.payments-create_payment",
    "CONSUMER.CREATE.USER_EVENTS",
)
MESSAGES = ("public_keys.current", "revocations.user.x", "user.deleted", "payment.rejected", "payments.create.key.x")
TARGETS = (*(f"{prefix}.{request}" for prefix in (JETSTREAM_API, IMPORTED_API) for request in API), *MESSAGES)
BODIES = (
    b"",
    b'{"seq": 1}',
    b'{"seq": 999}',
    b'{"last_by_subj": "dead.user.created"}',
    b'{"batch": 1, "no_wait": true}',
)

every_login = pytest.mark.parametrize("connection", [*NAMES, WATCHER], indirect=True)


@every_login
async def test_answers_change_no_stream_and_no_consumer(server: NatsServer, connection: Connection) -> None:
    own = rights.of_watcher() if connection.service == WATCHER else rights.documented(connection.service)
    async with connect(server.admin_url) as broker:
        await fill(broker)
        before = await settled_state_of(broker, own)
        for request in requests_of(own):
            for target in TARGETS:
                for body in BODIES:
                    await connection.client.publish(request, body, reply=target)
        assert await connection.error() == ""
        assert await settled_state_of(broker, own) == before


@every_login
async def test_answers_are_no_events_and_no_requests(server: NatsServer, connection: Connection) -> None:
    """Neither what streams republish nor a request that only others may send."""
    own = rights.of_watcher() if connection.service == WATCHER else rights.documented(connection.service)
    arrived: list[str] = []

    async def receive(message: Msg) -> None:
        arrived.append(message.subject)

    every = ("stored.public_keys.current", "stored.payment.created", "users.update", "payments.reject", "$SRV.PING")
    mine = own.publishes | own.requests
    targets = [each for each in every if not any(covers(subject, each.removeprefix(STORED)) for subject in mine)]
    async with connect(server.admin_url) as broker:
        await fill(broker)
        others = [await nats_client.connect(operator_in(server, name)) for name in NAMES if name != connection.service]
        for client in (broker.client, *others):
            for target in targets:
                await client.subscribe(target, cb=receive)
            await client.flush()
        for request in requests_of(own):
            for target in targets:
                for body in BODIES:
                    await connection.client.publish(request, body, reply=target)
        assert await connection.error() == ""
        await asyncio.sleep(0.3)
        for client in others:
            await client.close()
    assert arrived == []


async def test_operator_sees_what_is_sent_in_an_account(server: NatsServer) -> None:
    arrived: list[str] = []

    async def receive(message: Msg) -> None:
        arrived.append(message.subject)

    gateway = await nats_client.connect(server.url_as("gateway", server.port))
    operator = await nats_client.connect(operator_in(server, "gateway"))
    await operator.subscribe(">", cb=receive)
    await operator.flush()
    await gateway.publish("users.get_many", b"{}")
    await eventually(lambda: arrived == ["users.get_many"])
    await gateway.close()
    await operator.close()


def operator_in(server: NatsServer, name: str) -> str:
    """Return the address with the login of people in a service's account."""
    return server.admin_url.replace("operator:", f"operator-{name}:")


def requests_of(own: Rights) -> Iterator[str]:
    """Yield what the login may publish, with `x` for what varies."""
    for subject in own.permissions()["publish"]["allow"]:
        yield subject.replace("*", "x").replace(">", "user.created")


async def fill(broker: Broker) -> None:
    """Store messages, also a dead letter whose body is the configuration of its stream with a maximum age."""
    changed = streams.stream_config(DEAD_LETTERS).evolve(max_age=1.0)
    await broker.jetstream.publish(LETTER, json.dumps(changed.as_dict()).encode())
    for subject in ("public_keys.current", "payments.create.key.1", "revocations.user.1", "user.created"):
        await broker.jetstream.publish(subject, b"{}")


async def settled_state_of(broker: Broker, own: Rights) -> dict[str, Any]:
    """Return the state of the streams once it no longer changes: a busy server stores what was sent a while later."""
    state: dict[str, Any] = {}

    async def is_settled() -> bool:
        nonlocal state
        last, state = state, await state_of(broker, own)
        await asyncio.sleep(0.3)  # nothing says that an answer was not executed
        return state == last == await state_of(broker, own)

    await eventually(is_settled)
    return state


async def state_of(broker: Broker, own: Rights) -> dict[str, Any]:
    """Return the configuration, the consumers and the messages of each stream, without what the login may change.

    What payments pulls it may also copy to PAYMENT_EVENTS, under its own subject: there every reader skips it.
    """
    state: dict[str, Any] = {}
    for stream in STREAMS:
        info = await broker.jetstream.stream_info(stream.name, subjects_filter=">")
        consumers = await broker.jetstream.consumers_info(stream.name)
        messages = {
            subject: count
            for subject, count in (info.state.subjects or {}).items()
            if any(covers(each, subject) for each in stream.subjects)
            and not any(covers(mine, subject) for mine in own.publishes)
        }
        if f"STREAM.PURGE.{stream.name}" in own.api:
            assert stream == KEYED_PAYMENT_COMMANDS
            messages = {}
        state[stream.name] = (info.created, info.config, sorted(each.name for each in consumers), messages)
    return state
