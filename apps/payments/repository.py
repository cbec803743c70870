"""All SQL of the payments service; one `Payments` is one transaction."""

import json
from collections.abc import Collection, Iterable, Sequence
from typing import Any
from uuid import UUID

from apps.payments.models import Payer, PayerState, Payment, subject_of
from contracts.base import Event
from contracts.payments import PaymentStatus, PaymentView
from contracts.shards import ONLY, Shard
from kit import inbox
from kit.connection_pool import ConnectionPool
from kit.database import Transaction
from kit.inbox import InboxKey
from kit.outbox.table import emit
from kit.paging import Position
from kit.runtime.tracing import Trace

# Sorted by id: concurrent transactions with the same rows then lock them in one order, without a deadlock.
_ADD = """
INSERT INTO payments (id, user_id, amount, currency, metadata, status, reason, created_at)
SELECT * FROM unnest(
    $1::uuid[], $2::uuid[], $3::bigint[], $4::text[], $5::jsonb[], $6::text[], $7::text[], $8::timestamptz[]
) AS payment (id, user_id, amount, currency, metadata, status, reason, created_at)
ORDER BY id
ON CONFLICT (id) DO NOTHING
RETURNING id
"""

_CLOSED_PAYERS = "SELECT id FROM payers WHERE id = ANY($1) AND state <> $2"

_UPSERT_PAYERS = """
INSERT INTO payers (id, version, state)
SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::text[]) AS payer (id, version, state)
ORDER BY id
ON CONFLICT (id) DO UPDATE SET version = excluded.version, state = excluded.state
WHERE excluded.version > payers.version
"""

_VIEWS = "SELECT id, user_id, amount, currency, metadata, status, reason, created_at FROM payments"


_LAST_IDS = "SELECT id, user_id FROM payments ORDER BY created_at DESC, id DESC LIMIT $1"


class Payments(Transaction):
    """Payments and payers of a shard, in one transaction."""

    def __init__(self, pool: ConnectionPool, *, autocommit: bool = False, shard: Shard = ONLY) -> None:
        super().__init__(pool, autocommit=autocommit)
        self._shard = shard

    async def add(self, payments: Collection[Payment]) -> set[UUID]:
        """Insert the payments whose id is new; return those ids."""
        added = await self._connection.fetch(
            _ADD,
            [payment.id for payment in payments],
            [payment.user_id for payment in payments],
            [payment.amount for payment in payments],
            [payment.currency for payment in payments],
            [json.dumps(payment.metadata) for payment in payments],
            [payment.status.value for payment in payments],
            [payment.reason for payment in payments],
            [payment.created_at for payment in payments],
        )
        return {row["id"] for row in added}

    async def closed_payers(self, user_ids: Collection[UUID]) -> set[UUID]:
        """Return the ids of the users that are deleted or disabled."""
        return {
            row["id"] for row in await self._connection.fetch(_CLOSED_PAYERS, list(user_ids), PayerState.ACTIVE.value)
        }

    async def upsert_payers(self, payers: Collection[Payer]) -> None:
        """Insert or update these payers, each at most once; a row with the same or a higher version stays."""
        await self._connection.execute(
            _UPSERT_PAYERS,
            [payer.id for payer in payers],
            [payer.version for payer in payers],
            [payer.state for payer in payers],
        )

    async def add_inbox_keys(self, keys: Collection[InboxKey]) -> set[InboxKey]:
        """Store the keys of handled messages with this transaction; return those that are new."""
        return await inbox.insert_new(self._connection, keys)

    async def emit(self, events: Sequence[tuple[Event, Trace]]) -> None:
        """Store events in the outbox, each with its trace; they are published after the commit."""
        if self._shard.count == 1:
            await emit(self._connection, events)
        else:
            await emit(self._connection, events, lambda event: subject_of(event, self._shard))

    async def get_many(self, ids: Collection[UUID]) -> list[PaymentView]:
        """Return the recorded payments with these ids, in any order; unknown ids are left out."""
        return _views(await self._connection.fetch(f"{_VIEWS} WHERE id = ANY($1)", list(ids)))

    async def last_ids(self, limit: int) -> list[tuple[UUID, UUID]]:
        """Return the id and the payer of up to `limit` of the newest payments."""
        return [(row["id"], row["user_id"]) for row in await self._connection.fetch(_LAST_IDS, limit)]

    async def list_newest(
        self,
        limit: int,
        *,
        before: Position | None = None,
        user_id: UUID | None = None,
        status: PaymentStatus | None = None,
    ) -> list[PaymentView]:
        """Return up to `limit` payments older than `before`, newest first."""
        arguments: list[Any] = [limit]
        conditions = ["true"]
        if before is not None:
            arguments += before
            conditions.append("(created_at, id) < ($2, $3)")
        if user_id is not None:
            arguments.append(user_id)
            conditions.append(f"user_id = ${len(arguments)}")
        if status is not None:
            arguments.append(status.value)
            conditions.append(f"status = ${len(arguments)}")
        query = f"{_VIEWS} WHERE {' AND '.join(conditions)} ORDER BY created_at DESC, id DESC LIMIT $1"
        return _views(await self._connection.fetch(query, *arguments))


def _views(rows: Iterable[Any]) -> list[PaymentView]:
    return [PaymentView(**{**row, "metadata": json.loads(row["metadata"])}) for row in rows]
