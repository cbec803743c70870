"""The outbox: in order, at least once, one leader at a time, whatever is killed."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from datetime import datetime, timedelta
from typing import ClassVar, NamedTuple
from uuid import UUID, uuid4

import asyncpg
import pytest
from nats.aio.msg import Msg
from nats.errors import TimeoutError as NatsTimeout
from sqlalchemy import URL, MetaData, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from contracts.base import Event
from contracts.streams import Stream
from kit import outbox
from kit.broker import Broker
from kit.outbox import Relay, emit, outbox_table
from kit.telemetry import Trace
from mkstore.servers import NatsServer, PostgresServer, create_databases
from tests.waiting import eventually

METADATA = MetaData()
TABLE = outbox_table(METADATA)


class Counted(Event):
    """What the tests tell."""

    subject: ClassVar[str]
    id: UUID
    number: int

    @property
    def aggregate_id(self) -> UUID:
        return self.id

    @property
    def aggregate_version(self) -> int:
        return self.number


class Told(NamedTuple):
    """An event of this test alone, the stream that it goes to, and the database that it comes from."""

    event: type[Counted]
    stream: Stream
    address: URL
    pool: AsyncEngine

    async def emit(self, *numbers: int) -> None:
        async with self.pool.begin() as connection:
            aggregate = uuid4()
            events = [(self.event(id=aggregate, number=n), Trace(f"r{n}", "")) for n in numbers]
            await emit(connection, TABLE, events)

    async def left(self) -> int:
        async with self.pool.connect() as connection:
            return len((await connection.execute(TABLE.select())).all())

    async def events(self, broker: Broker) -> list[Msg]:
        """Return everything that the stream holds."""
        subscription = await broker.jetstream.subscribe(self.event.subject, ordered_consumer=True)
        try:
            count = (await broker.jetstream.stream_info(self.stream.name)).state.messages
            return [await subscription.next_msg(timeout=5) for _ in range(count)]
        finally:
            await subscription.unsubscribe()

    async def numbers(self, broker: Broker) -> list[int]:
        return [self.event.model_validate_json(message.data).number for message in await self.events(broker)]


@pytest.fixture
async def told(postgres_server: PostgresServer) -> AsyncIterator[Told]:
    word = f"o{secrets.token_hex(4)}"
    await create_databases(postgres_server.url, [word])
    address = make_url(postgres_server.url_of(word)).set(drivername="postgresql+asyncpg")
    pool = create_async_engine(address)
    async with pool.begin() as connection:
        await connection.run_sync(METADATA.create_all)

    class OwnCounted(Counted):
        subject: ClassVar[str] = f"{word}.counted"

    stream = Stream(
        name=word.upper(),
        subjects=(f"{word}.*",),
        retention="limits",
        discard="old",
        duplicate_window=timedelta(minutes=10),
    )
    yield Told(OwnCounted, stream, address, pool)
    await pool.dispose()


StartRelay = Callable[[Broker], Awaitable[Relay]]


@pytest.fixture
async def start_relay(told: Told) -> AsyncIterator[StartRelay]:
    async with AsyncExitStack() as stack:

        async def start(broker: Broker) -> Relay:
            relay = Relay(told.address, broker, "tests")
            await relay.start()
            stack.push_async_callback(relay.stop)
            return relay

        yield start


@pytest.fixture
async def broker(nats_server: NatsServer, told: Told) -> AsyncIterator[Broker]:
    broker = Broker(nats_server.url, name="tests", streams=[told.stream])
    await broker.start()
    yield broker
    await broker.stop()


async def test_events_are_sent_in_order_and_say_what_they_are(
    told: Told, broker: Broker, start_relay: StartRelay
) -> None:
    await told.emit(*range(1, 451))
    await start_relay(broker)
    await told.emit(451)
    await eventually(lambda: _all_sent(told))
    assert await told.numbers(broker) == list(range(1, 452))
    first, *_, last = await told.events(broker)
    for message, number in ((first, 1), (last, 451)):
        headers = message.headers or {}
        assert {
            "ce-specversion": "1.0",
            "ce-type": told.event.subject,
            "ce-source": "tests",
            "ce-aggregateversion": str(number),
            "content-type": "application/json",
            "X-Request-Id": f"r{number}",
        }.items() <= headers.items()
        assert headers["ce-subject"] == str(told.event.model_validate_json(message.data).id)
        assert headers["Nats-Msg-Id"] == headers["ce-id"]
        assert datetime.fromisoformat(headers["ce-time"]).tzinfo is not None


async def test_a_lone_event_is_sent_at_once(told: Told, broker: Broker, start_relay: StartRelay) -> None:
    await start_relay(broker)
    for number in range(1, 11):
        await told.emit(number)
        await eventually(lambda: _all_sent(told), within=2)  # the relay looks by itself every five seconds
    assert await told.numbers(broker) == list(range(1, 11))


async def test_an_undone_transaction_tells_nothing_and_neither_do_no_events(
    told: Told, broker: Broker, start_relay: StartRelay
) -> None:
    await start_relay(broker)
    async with told.pool.connect() as connection:
        await emit(connection, TABLE, [(told.event(id=uuid4(), number=1), Trace())])
        await connection.rollback()
    await told.emit()
    await told.emit(2)
    await eventually(lambda: _all_sent(told))
    assert await told.numbers(broker) == [2]


@pytest.mark.parametrize("already", [[1], [3], [2, 5], [1, 2, 3, 4, 5]])
async def test_what_was_sent_before_a_crash_is_there_once_and_the_rest_follows(
    told: Told, broker: Broker, start_relay: StartRelay, already: list[int]
) -> None:
    await told.emit(1, 2, 3, 4, 5)
    async with told.pool.connect() as connection:
        rows = (await connection.execute(TABLE.select().order_by(TABLE.c.seq))).all()
    for number in already:
        row = rows[number - 1]
        await broker.jetstream.publish(row.subject, row.body, headers={"Nats-Msg-Id": str(row.id)})
    await start_relay(broker)
    await eventually(lambda: _all_sent(told))
    assert await told.numbers(broker) == already + [number for number in range(1, 6) if number not in already]


async def test_no_event_is_lost_doubled_or_out_of_order_while_nats_is_killed(
    told: Told, own_server: NatsServer, start_relay: StartRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "_DEADLINE", 1.0)
    await asyncio.to_thread(own_server.start)
    broker = Broker(own_server.url, name="tests", streams=[told.stream])
    try:
        await broker.start()
        await start_relay(broker)

        async def emit_all() -> None:
            for start in range(1, 3001, 20):
                await told.emit(*range(start, start + 20))

        emitting = asyncio.create_task(emit_all())
        for _ in range(2):
            before = (await broker.jetstream.stream_info(told.stream.name)).state.messages
            await eventually(lambda before=before: _holds_more_than(broker, told, before))  # type: ignore[misc]
            await asyncio.to_thread(own_server.kill)
            await asyncio.to_thread(own_server.start)
            await eventually(broker.is_connected)
        await emitting
        await eventually(lambda: _all_sent(told))
        assert await told.numbers(broker) == list(range(1, 3001))
        ids = {(message.headers or {})["Nats-Msg-Id"] for message in await told.events(broker)}
        assert len(ids) == 3000
    finally:
        await broker.stop()


async def test_one_of_two_relays_leads_and_the_other_takes_over_when_its_connection_is_killed(
    told: Told, broker: Broker, start_relay: StartRelay
) -> None:
    relays = [await start_relay(broker), await start_relay(broker)]
    connection = await asyncpg.connect(told.address.set(drivername="postgresql").render_as_string(hide_password=False))
    try:
        leaders: list[int] = []
        for number in range(1, 4):
            leader = await eventually(lambda: _leader(connection, *leaders))
            await eventually(lambda: _lock_count(connection, granted=False))
            leaders.append(leader)
            await told.emit(number)
            await eventually(lambda: _all_sent(told))
            assert await _lock_count(connection, granted=True) == 1
            await connection.execute("SELECT pg_terminate_backend($1)", leader)
        await told.emit(4)
        await eventually(lambda: _all_sent(told))
        assert await told.numbers(broker) == [1, 2, 3, 4]
        assert len(set(leaders)) == 3
        for relay in relays:
            await relay.check()
    finally:
        await connection.close()


async def test_a_stopped_relay_says_so_and_leaves_what_is_not_sent_to_the_next(
    told: Told, broker: Broker, start_relay: StartRelay
) -> None:
    relay = await start_relay(broker)
    await relay.check()
    await relay.stop()
    with pytest.raises(RuntimeError, match="not running"):
        await relay.check()
    await told.emit(1, 2)
    assert await told.left() == 2
    await start_relay(broker)
    await eventually(lambda: _all_sent(told))
    assert await told.numbers(broker) == [1, 2]


async def test_a_relay_stops_although_a_cancellation_is_swallowed(
    told: Told, broker: Broker, start_relay: StartRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    sending = asyncio.Event()

    async def publish(*_: object, **__: object) -> None:
        sending.set()
        with suppress(asyncio.CancelledError):  # as asyncio.wait_for does when its result comes at the same time
            await asyncio.sleep(60)
        raise NatsTimeout

    monkeypatch.setattr(broker.jetstream, "publish", publish)
    relay = await start_relay(broker)
    await told.emit(1)
    await sending.wait()
    async with asyncio.timeout(5):
        await relay.stop()
    assert await told.left() == 1


_LOCKS = """
    FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database
    WHERE locktype = 'advisory' AND datname = current_database()
"""


async def _lock_count(connection: asyncpg.Connection, *, granted: bool) -> int:
    return int(await connection.fetchval(f"SELECT count(*) {_LOCKS} AND granted = $1", granted))


async def _leader(connection: asyncpg.Connection, *before: int) -> int:
    """Return who leads, if that is none of those before: one that was killed leads until it is dead."""
    return int(await connection.fetchval(f"SELECT pid {_LOCKS} AND granted AND pid <> ALL($1)", before) or 0)


async def _all_sent(told: Told) -> bool:
    return await told.left() == 0


async def _holds_more_than(broker: Broker, told: Told, count: int) -> bool:
    return (await broker.jetstream.stream_info(told.stream.name)).state.messages > count + 200
