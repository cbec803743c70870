"""The transactional outbox: a change and its events commit together; `kit.outbox.relay` publishes the events."""

from collections.abc import Sequence
from datetime import UTC, datetime
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
    insert,
    text,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.base import Event
from kit.runtime.tracing import Trace

CHANNEL = "outbox"
"""PostgreSQL notification channel that wakes the relay after a commit with events."""


def outbox_table(metadata: MetaData) -> Table:
    """Create the table on the service's metadata; `seq` is the order of publication."""
    return Table(
        "outbox",
        metadata,
        Column("seq", BigInteger, Identity(always=True), primary_key=True),
        Column("id", Uuid, nullable=False),
        Column("subject", Text, nullable=False),
        Column("aggregate_id", Uuid, nullable=False),
        Column("aggregate_version", Integer, nullable=False),
        Column("body", LargeBinary, nullable=False),
        Column("occurred_at", DateTime(timezone=True), nullable=False),
        Column("request_id", Text, nullable=False),
        Column("traceparent", Text, nullable=False),
    )


async def emit(connection: AsyncConnection, table: Table, events: Sequence[tuple[Event, Trace]]) -> None:
    """Insert `events` in the caller's transaction; never flushes, commits or begins one."""
    if not events:
        return
    now = datetime.now(UTC)
    rows = [
        {
            "id": uuid4(),
            "subject": event.subject,
            "aggregate_id": event.aggregate_id,
            "aggregate_version": event.aggregate_version,
            "body": event.model_dump_json().encode(),
            "occurred_at": now,
            "request_id": trace.request_id,
            "traceparent": trace.traceparent,
        }
        for event, trace in events
    ]
    await connection.execute(insert(table), rows)
    await connection.execute(text(f"NOTIFY {CHANNEL}"))  # delivered at commit, so the relay never wakes too early
