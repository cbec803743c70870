"""An event, a database with an outbox and a stream, all for one test."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import ClassVar, NamedTuple, Self
from uuid import UUID, uuid4

import asyncpg
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from sqlalchemy import URL, MetaData, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from contracts.base import Event
from contracts.streams import Stream
from kit.connection_pool import ConnectionPool
from kit.database import Transaction, pool_of
from kit.messaging.broker import Broker
from kit.outbox.table import emit, outbox_table
from kit.runtime.tracing import Trace
from mkstore.stack.servers import PostgresServer, create_databases
from tests.support.provisioning import ProvisionedBroker
from tests.support.streams import new_stream, subject_in

METADATA = MetaData()
TABLE = outbox_table(METADATA)


class Counted(Event):
    """An event that carries its number."""

    subject: ClassVar[str]
    id: UUID
    number: int

    @property
    def aggregate_id(self) -> UUID:
        return self.id

    @property
    def aggregate_version(self) -> int:
        return self.number


class Emission(Transaction):
    """A transaction that emits events."""

    async def emit(self, *events: tuple[Event, Trace]) -> None:
        await emit(self._connection, events)


class OutboxSource(NamedTuple):
    """An event type of one test, the stream it is published to, and the database with its outbox."""

    event: type[Counted]
    stream: Stream
    address: URL
    pool: AsyncEngine
    connections: ConnectionPool

    async def emit(self, *numbers: int) -> None:
        async with Emission(self.connections) as emission:
            aggregate = uuid4()
            await emission.emit(*((self.event(id=aggregate, number=n), Trace(f"r{n}", "")) for n in numbers))

    @property
    def dsn(self) -> str:
        """The database URL in the form that asyncpg accepts."""
        return self.address.set(drivername="postgresql").render_as_string(hide_password=False)

    async def left(self) -> int:
        async with self.pool.connect() as connection:
            return len((await connection.execute(TABLE.select())).all())

    async def events(self, broker: Broker) -> list[Msg]:
        """Return every message in the stream."""
        subscription = await broker.jetstream.subscribe(self.event.subject, ordered_consumer=True)
        try:
            count = (await broker.jetstream.stream_info(self.stream.name)).state.messages
            return [await subscription.next_msg(timeout=5) for _ in range(count)]
        finally:
            await subscription.unsubscribe()

    async def numbers(self, broker: Broker) -> list[int]:
        return [self.event.model_validate_json(message.data).number for message in await self.events(broker)]

    async def all_sent(self) -> bool:
        return await self.left() == 0


@asynccontextmanager
async def outbox_source(
    server: PostgresServer, duplicate_window: timedelta = timedelta(minutes=10)
) -> AsyncIterator[OutboxSource]:
    """Create the database; the broker that connects to NATS creates the stream."""
    stream = new_stream(duplicate_window=duplicate_window)
    database = stream.name.lower()
    await create_databases(server.url, [database])
    address = make_url(server.url_of(database)).set(drivername="postgresql+asyncpg")
    pool = create_async_engine(address)
    async with pool.begin() as connection:
        await connection.run_sync(METADATA.create_all)

    class OwnCounted(Counted):
        subject: ClassVar[str] = subject_in(stream, "counted")

    connections = pool_of(address, 5)
    try:
        yield OutboxSource(OwnCounted, stream, address, pool, connections)
    finally:
        await connections.close()
        await pool.dispose()


class InterceptedBroker(ProvisionedBroker):
    """A broker whose JetStream publishes with `publish` instead."""

    def __init__(self, url: str, stream: Stream, publish: Callable[..., Awaitable[None]]) -> None:
        super().__init__(url, streams=[stream])
        self.publish_instead = publish

    @property
    def jetstream(self) -> JetStreamContext:
        class Intercepted(JetStreamContext):
            publish = staticmethod(self.publish_instead)  # type: ignore[assignment]

        return Intercepted(self.client)


class LeaderLocks(NamedTuple):
    """The advisory locks in the database of an `OutboxSource`: who leads and who waits to."""

    connection: asyncpg.Connection

    @classmethod
    async def of(cls, source: OutboxSource) -> Self:
        return cls(await asyncpg.connect(source.dsn))

    async def locks(self, *, granted: bool) -> int:
        return int(await self.connection.fetchval(f"SELECT count(*) {_LOCKS} AND granted = $1", granted))

    async def session(self, *before: int, granted: bool = True) -> int:
        """Return the pid of the leader's session, or of a waiting one; 0 if there is none but those in `before`.

        A session that was terminated keeps its lock until it has ended.
        """
        query = f"SELECT l.pid {_LOCKS} AND granted = $1 AND l.pid <> ALL($2)"
        return int(await self.connection.fetchval(query, granted, before) or 0)

    async def connected_for(self, session: int, seconds: float) -> bool:
        """Return whether the session has existed for at least `seconds`, by the server's clock."""
        age = "SELECT clock_timestamp() - backend_start FROM pg_stat_activity WHERE pid = $1"
        return bool(await self.connection.fetchval(age, session) >= timedelta(seconds=seconds))

    async def port(self) -> int:
        """Return the client port of the leader's connection."""
        return int(await self.connection.fetchval(f"SELECT client_port {_LOCKS} AND granted") or 0)


_LOCKS = """
    FROM pg_locks l JOIN pg_database ON pg_database.oid = l.database JOIN pg_stat_activity a ON a.pid = l.pid
    WHERE locktype = 'advisory' AND pg_database.datname = current_database()
"""
