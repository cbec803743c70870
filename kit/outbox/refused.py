"""Events that the stream refused for good: kept in the service's database until an operator decides.

A dead-letter stream would not do, since NATS is what refuses. The later events of the same aggregate wait in the
outbox, so that their order stays.
"""

from collections.abc import Sequence
from typing import Any

from contracts.outbox import RefusedEvent
from kit.database import Transaction
from kit.outbox.table import CHANNEL

PAGE = 100
_COLUMNS = (
    "seq, id, subject, aggregate_id, aggregate_version, schema_version, body, occurred_at, request_id, traceparent"
)

NEXT = "SELECT * FROM outbox ORDER BY seq LIMIT $1"
"""The next rows to publish while no event is refused."""
NEXT_BESIDE_REFUSED = """
SELECT * FROM outbox WHERE aggregate_id NOT IN (SELECT aggregate_id FROM refused_events) ORDER BY seq LIMIT $1
"""
ANY_REFUSED = "SELECT EXISTS (SELECT FROM refused_events)"
REFUSE = f"""
WITH refused AS (DELETE FROM outbox WHERE seq = $1 RETURNING *)
INSERT INTO refused_events ({_COLUMNS}, reason, attempts, refused_at)
SELECT {_COLUMNS}, $2, $3, clock_timestamp() FROM refused
"""  # noqa: S608 - constants
_LIST = """
SELECT seq, subject, aggregate_id, substring(body FOR 4096) AS body, octet_length(body) AS bytes, occurred_at,
    request_id, reason, attempts, refused_at,
    (SELECT count(*) FROM outbox WHERE outbox.aggregate_id = refused_events.aggregate_id) AS waiting
FROM refused_events WHERE seq > $1 ORDER BY seq LIMIT $2
"""
# With its old number, so that it comes before the events of its aggregate that wait.
_PUBLISH = f"""
WITH refused AS (DELETE FROM refused_events WHERE seq = $1 RETURNING *),
    waiting AS (
        INSERT INTO outbox ({_COLUMNS}) OVERRIDING SYSTEM VALUE SELECT {_COLUMNS} FROM refused RETURNING seq
    )
SELECT pg_notify($2, '') FROM waiting
"""  # noqa: S608 - constants
_DISCARD = """
WITH refused AS (DELETE FROM refused_events WHERE seq = $1 RETURNING seq) SELECT pg_notify($2, '') FROM refused
"""


class RefusedEvents(Transaction):
    """The refused events of one service, in a transaction."""

    async def list(self, after: int) -> Sequence[RefusedEvent]:
        """Return up to 100 events with a higher number than `after`, in order."""
        return [_view(row) for row in await self._connection.fetch(_LIST, after, PAGE)]

    async def publish(self, number: int) -> bool:
        """Give an event back to the relay, before the later ones of its aggregate; False if it is not refused."""
        return bool(await self._connection.fetch(_PUBLISH, number, CHANNEL))

    async def discard(self, number: int) -> bool:
        """Remove an event for good, so that the later ones of its aggregate go on; False if it is not refused."""
        return bool(await self._connection.fetch(_DISCARD, number, CHANNEL))


def _view(row: Any) -> RefusedEvent:
    return RefusedEvent(
        id=row["seq"],
        subject=row["subject"],
        aggregate_id=row["aggregate_id"],
        reason=row["reason"],
        attempts=row["attempts"],
        occurred_at=row["occurred_at"],
        refused_at=row["refused_at"],
        waiting=row["waiting"],
        request_id=row["request_id"],
        bytes=row["bytes"],
        body=bytes(row["body"]).decode("utf-8", "replace"),
    )
