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
    """The payments and who may make them, seen and added to in one transaction."""

    async def add(self, payments: Collection[Payment]) -> set[UUID]:
        """Record each payment whose id is new; returns the ids of those."""
        # In the order of the ids: two transactions that add the same ones then wait for one another in one direction.
        rows = [_values(payment) for payment in sorted(payments, key=lambda payment: payment.id)]
        added = insert(_payments).on_conflict_do_nothing(index_elements=["id"]).returning(_payments.c.id)
        return set((await self._connection.execute(added, rows)).scalars())

    async def closed_payers(self, user_ids: Collection[UUID]) -> set[UUID]:
        """Return those among `user_ids` who are known to be gone or disabled."""
        among = _payers.c.id == any_(literal(list(user_ids), ARRAY(Uuid)))
        closed = select(_payers.c.id).where(among, _payers.c.state != PayerState.ACTIVE.value)
        return set((await self._connection.execute(closed)).scalars())

    async def learn(self, payers: Collection[Payer]) -> None:
        """Keep what was told of each payer, unless as much or more is known; each stands once among `payers`."""
        if not payers:
            return
        told = insert(_payers)
        news = told.on_conflict_do_update(
            index_elements=["id"],
            set_={"version": told.excluded.version, "state": told.excluded.state},
            where=told.excluded.version > _payers.c.version,
        )
        await self._connection.execute(
            news, [payer.model_dump() for payer in sorted(payers, key=lambda payer: payer.id)]
        )

    async def mark(self, marks: Collection[InboxKey]) -> set[InboxKey]:
        """Write that messages are handled, if and when this transaction commits; returns the marks that are new."""
        return await inboxes.insert_new(self._connection, inbox, marks)

    async def emit(self, events: Sequence[tuple[Event, Trace]]) -> None:
        """Tell others, each with the request that it belongs to, if and when this transaction commits."""
        await emit(self._connection, outbox, events)

    async def views(self, ids: Collection[UUID]) -> list[PaymentView]:
        """Return the payments among `ids` that are recorded."""
        return await self._views(select(_payments).where(_payments.c.id == any_(literal(list(ids), ARRAY(Uuid)))))

    async def newest(
        self,
        limit: int,
        *,
        before: Position | None = None,
        user_id: UUID | None = None,
        status: PaymentStatus | None = None,
    ) -> list[PaymentView]:
        """Return up to `limit` payments, newest first, that come after the position `before` in that order."""
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
    return {"metadata": fields.pop("notes"), **fields}
