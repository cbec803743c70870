"""The transactional outbox: a change and its events commit together; `kit.outbox.relay` publishes the events."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Identity,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    Uuid,
)

from contracts.base import Event
from contracts.headers import DATA_SCHEMA, MESSAGE_ID, data_schema
from contracts.shards import contract_subject
from kit.runtime.tracing import Trace
from kit.sql import SqlConnection

CHANNEL = "outbox"
"""PostgreSQL notification channel that wakes the relay after a commit with events."""


def outbox_table(metadata: MetaData) -> Table:
    """Create the table on the service's metadata, and that of the events which NATS refused; return the first.

    `seq` is the order of publication; a refused event keeps the number that it had in the outbox.
    """
    Table(
        "refused_events",
        metadata,
        Column("seq", BigInteger, primary_key=True, autoincrement=False),
        *_event_columns(),
        Column("reason", Text, nullable=False),
        Column("attempts", Integer, nullable=False),
        Column("refused_at", DateTime(timezone=True), nullable=False),
    )
    return Table(
        "outbox", metadata, Column("seq", BigInteger, Identity(always=True), primary_key=True), *_event_columns()
    )


def _event_columns() -> list[Column[Any]]:
    return [
        Column("id", Uuid, nullable=False),
        Column("subject", Text, nullable=False),
        Column("aggregate_id", Uuid, nullable=False),
        Column("aggregate_version", Integer, nullable=False),
        # Of the code that wrote the event: a newer or older process may publish it. The default is for code without it.
        Column("schema_version", Integer, nullable=False, server_default="1"),
        Column("body", LargeBinary, nullable=False),
        Column("occurred_at", DateTime(timezone=True), nullable=False),
        Column("request_id", Text, nullable=False),
        Column("traceparent", Text, nullable=False),
    ]


# The rows are ordered, so that they are numbered in this order. The notification is delivered at commit, so the relay
# never wakes too early.
_EMIT = """
WITH stored AS (
    INSERT INTO outbox
        (id, subject, aggregate_id, aggregate_version, schema_version, body, occurred_at, request_id, traceparent)
    SELECT id, subject, aggregate_id, aggregate_version, schema_version, body, $7::timestamptz, request_id, traceparent
    FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::integer[], $5::integer[], $6::bytea[], $8::text[], $9::text[])
        WITH ORDINALITY
        AS event (id, subject, aggregate_id, aggregate_version, schema_version, body, request_id, traceparent, number)
    ORDER BY number
)
SELECT pg_notify($10, '')
"""


def event_headers(row: Any, source: str, trace: Trace) -> dict[str, str]:
    """Return the headers of the event in a row, which has its columns as keys.

    They are CloudEvents 1.0 attributes, with this `source`, and those of the `trace`.
    """
    event_id, subject = str(row["id"]), contract_subject(row["subject"])
    return {
        MESSAGE_ID: event_id,
        "ce-specversion": "1.0",
        "ce-id": event_id,
        "ce-type": subject,
        "ce-source": source,
        "ce-subject": str(row["aggregate_id"]),
        "ce-time": row["occurred_at"].astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "ce-aggregateversion": str(row["aggregate_version"]),
        DATA_SCHEMA: data_schema(subject, row["schema_version"]),
        "content-type": "application/json",
    } | trace.headers()


async def emit(
    connection: SqlConnection,
    events: Sequence[tuple[Event, Trace]],
    subject_of: Callable[[Event], str] = lambda event: event.subject,
) -> None:
    """Insert `events` in the caller's transaction, in their order; one statement, which also wakes the relay.

    `subject_of` returns the subject that an event is published on, such as that of a shard.
    """
    if not events:
        return
    await connection.execute(
        _EMIT,
        [uuid4() for _ in events],
        [subject_of(event) for event, _ in events],
        [event.aggregate_id for event, _ in events],
        [event.aggregate_version for event, _ in events],
        [event.schema_version for event, _ in events],
        [event.model_dump_json().encode() for event, _ in events],
        datetime.now(UTC),
        [trace.request_id for _, trace in events],
        [trace.traceparent for _, trace in events],
        CHANNEL,
    )
