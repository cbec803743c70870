"""The header `ce-dataschema` of a published event: the version of the code that wrote it, not of the relay."""

from datetime import UTC, datetime
from typing import ClassVar
from uuid import uuid4

from sqlalchemy import text

from contracts.base import Event
from kit.messaging import streams
from kit.messaging.broker import Broker
from kit.outbox.refused import RefusedEvents
from kit.runtime.tracing import Trace
from tests.kit.outbox.conftest import NEVER, StartRelay
from tests.support.outbox_events import TABLE, Counted, Emission, OutboxSource
from tests.support.polling import eventually


async def emit(source: OutboxSource, *events: Event) -> None:
    """Commit these events together."""
    async with Emission(source.connections) as emission:
        await emission.emit(*((event, Trace()) for event in events))


async def schemas(source: OutboxSource, broker: Broker) -> list[str]:
    """Return the schemas of all stored events once the outbox is empty."""
    await eventually(source.all_sent)
    last = (await broker.jetstream.stream_info(source.stream.name)).state.last_seq
    stored = [await broker.jetstream.get_msg(source.stream.name, sequence) for sequence in range(1, last + 1)]
    return [(message.headers or {})["ce-dataschema"] for message in stored]


async def test_version_is_that_of_the_code_that_wrote_the_event(
    source: OutboxSource, broker: Broker, start_relay: StartRelay
) -> None:
    """During a rolling deployment the relay of one version publishes events that another version wrote."""

    class Next(Counted):
        subject: ClassVar[str] = source.event.subject
        schema_version: ClassVar[int] = 2

    await emit(source, source.event(id=uuid4(), number=1), Next(id=uuid4(), number=2))
    await start_relay(broker)
    schema = f"urn:mkstore:schema:{source.event.subject}"
    assert await schemas(source, broker) == [f"{schema}:1", f"{schema}:2"]


async def test_version_is_1_for_code_that_writes_none(
    source: OutboxSource, broker: Broker, start_relay: StartRelay
) -> None:
    async with source.pool.begin() as connection:
        await connection.execute(
            TABLE.insert().values(
                id=uuid4(),
                subject=source.event.subject,
                aggregate_id=uuid4(),
                aggregate_version=1,
                body=b"{}",
                occurred_at=datetime.now(UTC),
                request_id="",
                traceparent="",
            )
        )
    await start_relay(broker)
    assert await schemas(source, broker) == [f"urn:mkstore:schema:{source.event.subject}:1"]


async def test_version_is_kept_while_the_event_is_refused(
    source: OutboxSource, broker: Broker, start_relay: StartRelay
) -> None:
    class Strange(Counted):
        subject: ClassVar[str] = f"strange{uuid4().hex}.happened"
        schema_version: ClassVar[int] = 3

    await start_relay(broker, retry_delay=0.01)
    await emit(source, Strange(id=uuid4(), number=1))

    async def refused() -> int:
        async with RefusedEvents(source.connections, autocommit=True) as events:
            return next((event.id for event in await events.list(0)), 0)

    number = await eventually(refused)
    subjects = (*source.stream.subjects, Strange.subject)
    await streams.provision(broker.jetstream, [source.stream.model_copy(update={"subjects": subjects})])
    async with RefusedEvents(source.connections) as events:
        assert await events.publish(number)
    assert await schemas(source, broker) == [f"urn:mkstore:schema:{Strange.subject}:3"]


async def test_relay_goes_on_when_a_migration_adds_a_column(
    source: OutboxSource, broker: Broker, start_relay: StartRelay
) -> None:
    """During a rolling deployment: PostgreSQL refuses the prepared statement of a query whose columns have changed."""
    await start_relay(broker, poll_interval=NEVER)
    await source.emit(1)
    await eventually(source.all_sent)
    async with source.pool.begin() as connection:
        await connection.execute(text("ALTER TABLE outbox ADD COLUMN later integer DEFAULT 1 NOT NULL"))
    await source.emit(2)
    await eventually(source.all_sent)
    assert await source.numbers(broker) == [1, 2]
