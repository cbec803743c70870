"""The relay: publishes in order, at least once, from one leader at a time."""

import asyncio
import os
import signal
from contextlib import AsyncExitStack, suppress
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from nats.errors import TimeoutError as NatsTimeout
from nats.js.errors import BadRequestError

from kit.messaging.broker import Broker
from kit.outbox.relay import Relay
from kit.runtime.tracing import Trace
from mkstore.stack.servers import NatsServer, PostgresServer
from tests.kit.outbox.conftest import NEVER, StartRelay
from tests.support.outbox_events import TABLE, Emission, InterceptedBroker, LeaderLocks, OutboxSource, outbox_source
from tests.support.polling import eventually
from tests.support.provisioning import ProvisionedBroker


async def test_events_are_published_in_order_with_cloudevents_headers(
    source: OutboxSource, broker: Broker, start_relay: StartRelay
) -> None:
    await source.emit(*range(1, 451))
    await start_relay(broker)
    await source.emit(451)
    await eventually(source.all_sent)
    assert await source.numbers(broker) == list(range(1, 452))
    first, *_, last = await source.events(broker)
    for message, number in ((first, 1), (last, 451)):
        headers = message.headers or {}
        assert {
            "ce-specversion": "1.0",
            "ce-type": source.event.subject,
            "ce-source": "tests",
            "ce-aggregateversion": str(number),
            "ce-dataschema": f"urn:mkstore:schema:{source.event.subject}:1",
            "content-type": "application/json",
            "X-Request-Id": f"r{number}",
        }.items() <= headers.items()
        assert headers["ce-subject"] == str(source.event.model_validate_json(message.data).id)
        assert headers["Nats-Msg-Id"] == headers["ce-id"]
        assert datetime.fromisoformat(headers["ce-time"]).tzinfo is not None


async def test_single_event_is_published_on_notification(
    source: OutboxSource, broker: Broker, start_relay: StartRelay
) -> None:
    await start_relay(broker, poll_interval=NEVER)
    for number in range(1, 11):
        await source.emit(number)
        await eventually(source.all_sent)
    assert await source.numbers(broker) == list(range(1, 11))


async def test_rolled_back_events_are_not_published(
    source: OutboxSource, broker: Broker, start_relay: StartRelay
) -> None:
    await start_relay(broker)
    with suppress(LookupError):
        async with Emission(source.connections) as emission:
            await emission.emit((source.event(id=uuid4(), number=1), Trace()))
            raise LookupError
    await source.emit()
    await source.emit(2)
    await eventually(source.all_sent)
    assert await source.numbers(broker) == [2]


@pytest.mark.parametrize("already", [[1], [3], [2, 5], [1, 2, 3, 4, 5]])
async def test_events_published_before_a_crash_are_not_duplicated(
    source: OutboxSource, broker: Broker, start_relay: StartRelay, already: list[int]
) -> None:
    await source.emit(1, 2, 3, 4, 5)
    async with source.pool.connect() as connection:
        rows = (await connection.execute(TABLE.select().order_by(TABLE.c.seq))).all()
    for number in already:
        row = rows[number - 1]
        await broker.jetstream.publish(row.subject, row.body, headers={"Nats-Msg-Id": str(row.id)})
    await start_relay(broker)
    await eventually(source.all_sent)
    assert await source.numbers(broker) == already + [number for number in range(1, 6) if number not in already]


async def test_killing_nats_loses_duplicates_and_reorders_nothing(
    source: OutboxSource, own_server: NatsServer, start_relay: StartRelay
) -> None:
    await asyncio.to_thread(own_server.start)
    broker = ProvisionedBroker(own_server.url, name="tests", streams=[source.stream])
    try:
        await broker.start()
        await start_relay(broker)

        async def emit_all() -> None:
            for start in range(1, 2001, 20):
                await source.emit(*range(start, start + 20))

        emitting = asyncio.create_task(emit_all())
        for _ in range(2):
            before = (await broker.jetstream.stream_info(source.stream.name)).state.messages
            await eventually(lambda before=before: _grew_from(broker, source, before))  # type: ignore[misc]
            await asyncio.to_thread(own_server.kill)
            await asyncio.to_thread(own_server.start)
            await eventually(broker.is_connected)
        await emitting
        await eventually(source.all_sent)
        assert await source.numbers(broker) == list(range(1, 2001))
        ids = {(message.headers or {})["Nats-Msg-Id"] for message in await source.events(broker)}
        assert len(ids) == 2000
    finally:
        await broker.stop()


async def test_second_relay_takes_over_when_the_leaders_session_ends(
    source: OutboxSource, broker: Broker, start_relay: StartRelay
) -> None:
    relays = [await start_relay(broker), await start_relay(broker)]
    leaders = await LeaderLocks.of(source)
    try:
        before: list[int] = []
        for number in range(1, 4):
            leader = await eventually(lambda: leaders.session(*before))
            await eventually(lambda: leaders.locks(granted=False))
            await eventually(lambda: sorted(relay.leads for relay in relays) == [False, True])
            before.append(leader)
            await source.emit(number)
            await eventually(source.all_sent)
            assert await leaders.locks(granted=True) == 1
            await leaders.connection.execute("SELECT pg_terminate_backend($1)", leader)
        await source.emit(4)
        await eventually(source.all_sent)
        assert await source.numbers(broker) == [1, 2, 3, 4]
        assert len(set(before)) == 3
        for relay in relays:
            await relay.check()
    finally:
        await leaders.connection.close()


async def test_database_timeouts_do_not_end_the_wait_for_the_lock(
    source: OutboxSource, broker: Broker, start_relay: StartRelay
) -> None:
    leaders = await LeaderLocks.of(source)
    try:
        for limit in ("statement_timeout", "lock_timeout"):
            await leaders.connection.execute(f"ALTER DATABASE {source.address.database} SET {limit} = '200ms'")
        first = await start_relay(broker, lease=0.3)
        await eventually(lambda: first.leads)
        second = await start_relay(broker, lease=0.3)
        waiting = await eventually(lambda: leaders.session(granted=False))
        leading = await leaders.session()
        await eventually(lambda: leaders.connected_for(waiting, 0.6))  # longer than the limits and the lease
        assert await leaders.session() == leading
        assert await leaders.session(granted=False) == waiting
        await first.stop()
        await eventually(lambda: second.leads)
        assert await leaders.session() == waiting
    finally:
        await leaders.connection.close()


async def test_stopped_relay_fails_its_check_and_leaves_the_events(
    source: OutboxSource, broker: Broker, start_relay: StartRelay
) -> None:
    relay = await start_relay(broker)
    await relay.check()
    await relay.stop()
    with pytest.raises(RuntimeError, match="not running"):
        await relay.check()
    await source.emit(1, 2)
    assert await source.left() == 2
    await start_relay(broker)
    await eventually(source.all_sent)
    assert await source.numbers(broker) == [1, 2]


async def test_relay_stops_although_a_cancellation_is_lost(
    source: OutboxSource, nats_server: NatsServer, start_relay: StartRelay
) -> None:
    sending = asyncio.Event()

    async def publish(*_: object, **__: object) -> None:
        sending.set()
        with suppress(asyncio.CancelledError):  # as asyncio.wait_for does if its result arrives at the same time
            await asyncio.sleep(60)
        raise NatsTimeout

    broker = InterceptedBroker(nats_server.url, source.stream, publish)
    try:
        await broker.start()
        relay = await start_relay(broker)
        await source.emit(1)
        await sending.wait()
        async with asyncio.timeout(30):
            await relay.stop()
        assert await source.left() == 1
    finally:
        await broker.stop()


async def test_batch_is_republished_as_soon_as_nats_is_back(
    source: OutboxSource, own_server: NatsServer, start_relay: StartRelay
) -> None:
    await asyncio.to_thread(own_server.start)
    broker = ProvisionedBroker(own_server.url, name="tests", streams=[source.stream])
    try:
        await broker.start()
        relay = await start_relay(broker, publish_timeout=NEVER)
        await eventually(lambda: relay.leads)
        await source.emit(0)
        await eventually(source.all_sent)
        assert own_server.pid is not None
        os.kill(own_server.pid, signal.SIGSTOP)  # it receives the batch and does not reply
        published = broker.client.stats["out_msgs"]
        await source.emit(1, 2, 3)
        await eventually(lambda: broker.client.stats["out_msgs"] >= published + 3)
        await asyncio.to_thread(own_server.kill)
        await asyncio.to_thread(own_server.start)
        await eventually(broker.is_connected)
        await eventually(source.all_sent)
        assert await source.numbers(broker) == [0, 1, 2, 3]
    finally:
        await broker.stop()


async def test_late_publish_of_a_former_leader_is_rejected(
    postgres_server: PostgresServer, nats_server: NatsServer
) -> None:
    """It arrives after the duplicate window, so the message id alone would not reject it."""
    async with outbox_source(postgres_server, timedelta(milliseconds=200)) as source, AsyncExitStack() as stack:
        late: list[tuple[Any, ...]] = []
        sending = asyncio.Event()

        async def hang(*arguments: Any, **options: Any) -> None:
            late.append((arguments, options))
            sending.set()
            await asyncio.Event().wait()

        brokers = [
            InterceptedBroker(nats_server.url, source.stream, hang),
            ProvisionedBroker(nats_server.url, streams=[source.stream]),
        ]
        for broker in brokers:
            await broker.start()
            stack.push_async_callback(broker.stop)
        first, second = (Relay(source.address, broker, "tests", source.stream) for broker in brokers)
        await first.start()
        await eventually(lambda: first.leads)
        await source.emit(1)
        await sending.wait()
        await first.stop()
        await second.start()
        stack.push_async_callback(second.stop)
        await eventually(source.all_sent)
        await source.emit(2)
        await eventually(source.all_sent)
        ((arguments, options),) = late

        async def rejected() -> str:
            try:
                await brokers[1].jetstream.publish(*arguments, **options)
            except BadRequestError as error:
                return error.description or ""
            return ""  # a duplicate, until the duplicate window has ended

        assert "wrong last sequence" in await eventually(rejected)
        assert await source.numbers(brokers[1]) == [1, 2]


async def _grew_from(broker: Broker, source: OutboxSource, count: int) -> bool:
    return (await broker.jetstream.stream_info(source.stream.name)).state.messages > count + 200
