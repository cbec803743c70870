"""The outbox in memory: the events of committed transactions, published in order."""

import asyncio
from collections.abc import Callable
from uuid import UUID, uuid4

from contracts.base import Event
from contracts.headers import source_of
from kit.outbox.table import event_headers
from kit.runtime.clock import SystemClock
from kit.runtime.tracing import Trace, trace
from mkstore.testing.streams import MemoryStreams

OnCommit = Callable[[Event, Trace], None]
"""Takes an event of a transaction that has committed, and the trace of its request."""


class MemoryOutbox:
    """Publishes events to their streams, as the relay of each service does: after the commit, in order.

    The headers are those of the relay, so they have an id, by which the inbox of a consumer deduplicates.
    """

    def __init__(self, streams: MemoryStreams, clock: SystemClock) -> None:
        self._streams = streams
        self._clock = clock
        self._rows: asyncio.Queue[tuple[str, Event, dict[str, str]]] = asyncio.Queue()
        self._unpublished = 0

    def of(self, service: str, subject_of: Callable[[Event], str] = lambda event: event.subject) -> OnCommit:
        """Return what a fake repository of a service calls for each event of a committed transaction."""

        def add(event: Event, origin: Trace) -> None:
            self._unpublished += 1
            self._rows.put_nowait((subject_of(event), event, self.headers(event, service, origin)))

        return add

    def headers(
        self, event: Event, service: str, origin: Trace | None = None, event_id: UUID | None = None
    ) -> dict[str, str]:
        """Return the headers with which the relay of a service publishes an event; a new id unless one is given."""
        origin = trace.get() if origin is None else origin
        row = {
            "id": event_id or uuid4(),
            "subject": event.subject,
            "aggregate_id": event.aggregate_id,
            "aggregate_version": event.aggregate_version,
            "occurred_at": self._clock.now(),
            "schema_version": event.schema_version,
        }
        return event_headers(row, source_of(service), origin)

    async def relay(self) -> None:
        """Publish until cancelled."""
        while True:
            subject, event, headers = await self._rows.get()
            try:
                await self._streams.publish(subject, event.model_dump_json().encode(), headers)
            finally:
                self._unpublished -= 1

    @property
    def is_idle(self) -> bool:
        """Whether every event is published."""
        return not self._unpublished
