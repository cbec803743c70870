"""The payments service's repository in memory: the same interface, the same rules, one dictionary."""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from asyncpg import CheckViolationError

from apps.payments.models import Payer, Payment
from contracts.base import Event
from contracts.payments import PaymentStatus, PaymentView
from kit.database import RefusedByDatabase
from kit.inbox import InboxKey
from kit.paging import Position
from kit.runtime.tracing import Trace
from mkstore.testing.outbox import OnCommit
from mkstore.testing.transactions import MemoryTransaction

REFUSED_AMOUNT = 666
"""The fake database refuses a row with this amount, so that a payment can be dead-lettered."""


@dataclass
class PaymentsData:
    """The committed state: payments, payers, inbox keys and published events."""

    rows: dict[UUID, PaymentView] = field(default_factory=dict)
    payers: dict[UUID, Payer] = field(default_factory=dict)
    inbox: set[InboxKey] = field(default_factory=set)
    events: list[tuple[Event, Trace]] = field(default_factory=list)
    unlocked: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while payments can be written."""
    failure: Exception | None = None
    """Raised by every transaction, such as `Unavailable("database")`."""

    def __post_init__(self) -> None:
        self.unlocked.set()


class FakePayments(MemoryTransaction):
    """Fake of `repository.Payments`: same rules; `on_commit` gets each event of a committed transaction."""

    def __init__(self, table: PaymentsData, on_commit: OnCommit | None = None) -> None:
        super().__init__(on_commit)
        self._table = table

    def begin(self) -> None:
        """Begin a transaction."""
        if self._table.failure is not None:
            raise self._table.failure
        self._added: dict[UUID, PaymentView] = {}
        self._new_keys: set[InboxKey] = set()
        self._payers: dict[UUID, Payer] = {}

    def commit(self) -> None:
        """Apply what the transaction has changed."""
        self._table.rows |= self._added
        self._table.events += self._emitted
        self._table.inbox |= self._new_keys
        self._table.payers |= self._payers

    async def add(self, payments: Collection[Payment]) -> set[UUID]:
        await self._table.unlocked.wait()
        if any(payment.amount == REFUSED_AMOUNT for payment in payments):
            raise RefusedByDatabase(CheckViolationError("check"))
        self._added = {payment.id: payment.view() for payment in payments if payment.id not in self._table.rows}
        return set(self._added)

    async def closed_payers(self, user_ids: Collection[UUID]) -> set[UUID]:
        return {payer.id for payer in self._table.payers.values() if payer.id in user_ids and payer.is_closed}

    async def upsert_payers(self, payers: Collection[Payer]) -> None:
        self._payers = {payer.id: payer for payer in payers if payer.supersedes(self._table.payers.get(payer.id))}

    async def add_inbox_keys(self, keys: Collection[InboxKey]) -> set[InboxKey]:
        self._new_keys = set(keys) - self._table.inbox
        return self._new_keys

    async def emit(  # type: ignore[override]  # that of this repository takes the trace of each command
        self, events: Sequence[tuple[Event, Trace]]
    ) -> None:
        self._emitted += events

    async def get_many(self, ids: Collection[UUID]) -> list[PaymentView]:
        return [view for view in self._table.rows.values() if view.id in ids]

    async def list_newest(
        self,
        limit: int,
        *,
        before: Position | None = None,
        user_id: UUID | None = None,
        status: PaymentStatus | None = None,
    ) -> list[PaymentView]:
        views = [
            view
            for view in self._table.rows.values()
            if (before is None or (view.created_at, view.id) < before)
            and user_id in {None, view.user_id}
            and status in {None, view.status}
        ]
        return sorted(views, key=lambda view: (view.created_at, view.id), reverse=True)[:limit]
