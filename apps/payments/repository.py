"""All SQL of the payments service; one `Payments` is one transaction."""

from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, Select, Table, Uuid, any_, literal, select, tuple_
from sqlalchemy.dialects.postgresql import insert

from apps.payments.models import Payer, PayerState, Payment, inbox, outbox
from contracts.base import Event
from contracts.payments import PaymentStatus, PaymentView
from kit import inbox as inboxes
from kit.database import Transaction
from kit.inbox import InboxKey
from kit.outbox.table import emit
from kit.paging import Position
from kit.runtime.tracing import Trace

_payments: Table = Payment.metadata.tables["payments"]
_payers: Table = Payer.metadata.tables["payers"]


class Payments(Transaction):
    """Payments and payers, in one transaction."""

    async def add(self, payments: Collection[Payment]) -> set[UUID]:
        """Insert the payments whose id is new; return those ids."""
        # Sorted by id: concurrent transactions with the same rows then lock them in one order, without a deadlock.
        rows = [_values(payment) for payment in sorted(payments, key=lambda payment: payment.id)]
        added = insert(_payments).on_conflict_do_nothing(index_elements=["id"]).returning(_payments.c.id)
        return set((await self._connection.execute(added, rows)).scalars())

    async def closed_payers(self, user_ids: Collection[UUID]) -> set[UUID]:
        """Return the ids of the users that are deleted or disabled."""
        among = _payers.c.id == any_(literal(list(user_ids), ARRAY(Uuid)))
        closed = select(_payers.c.id).where(among, _payers.c.state != PayerState.ACTIVE.value)
        return set((await self._connection.execute(closed)).scalars())

    async def upsert_payers(self, payers: Collection[Payer]) -> None:
        """Insert or update these payers, each at most once; a row with the same or a higher version stays."""
        if not payers:
            return
        rows = insert(_payers)
        upsert = rows.on_conflict_do_update(
            index_elements=["id"],
            set_={"version": rows.excluded.version, "state": rows.excluded.state},
            where=rows.excluded.version > _payers.c.version,
        )
        await self._connection.execute(
            upsert, [payer.model_dump() for payer in sorted(payers, key=lambda payer: payer.id)]
        )

    async def add_inbox_keys(self, keys: Collection[InboxKey]) -> set[InboxKey]:
        """Store the keys of handled messages with this transaction; return those that are new."""
        return await inboxes.insert_new(self._connection, inbox, keys)

    async def emit(self, events: Sequence[tuple[Event, Trace]]) -> None:
        """Store events in the outbox, each with its trace; they are published after the commit."""
        await emit(self._connection, outbox, events)

    async def get_many(self, ids: Collection[UUID]) -> list[PaymentView]:
        """Return the recorded payments with these ids, in any order; unknown ids are left out."""
        return await self._views(select(_payments).where(_payments.c.id == any_(literal(list(ids), ARRAY(Uuid)))))

    async def list_newest(
        self,
        limit: int,
        *,
        before: Position | None = None,
        user_id: UUID | None = None,
        status: PaymentStatus | None = None,
    ) -> list[PaymentView]:
        """Return up to `limit` payments older than `before`, newest first."""
        query = select(_payments).order_by(_payments.c.created_at.desc(), _payments.c.id.desc()).limit(limit)
        if before is not None:
            query = query.where(tuple_(_payments.c.created_at, _payments.c.id) < before)
        if user_id is not None:
            query = query.where(_payments.c.user_id == user_id)
        if status is not None:
            query = query.where(_payments.c.status == status.value)
        return await self._views(query)

    async def _views(self, query: Select[Any]) -> list[PaymentView]:
        return [PaymentView(**row) for row in (await self._connection.execute(query)).mappings()]


def _values(payment: Payment) -> dict[str, Any]:
    fields = payment.model_dump()
    return {"metadata": fields.pop("metadata_"), **fields}
