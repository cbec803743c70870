"""Payments and payers: the tables and the rules on them."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Self
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Column, DateTime, Index, Text, Uuid
from sqlalchemy import Table as SqlTable
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from contracts.base import Event
from contracts.payments import CreatePayment, PaymentCreated, PaymentRejected, PaymentStatus, PaymentView
from contracts.shards import Shard, Shards
from contracts.users import UserCreated, UserDeleted, UserUpdated
from kit.inbox import inbox_table
from kit.outbox.table import outbox_table

OVER_LIMIT = "amount-over-limit"
GIVEN_UP = "given-up"
PAYER_CLOSED = "payer-closed"


class Table(SQLModel, registry=registry()):
    """Base of this service's tables, with a registry that no other service shares in a test process."""


# A plain table and a plain class: building an SQLModel object takes 28 µs, a third of the work of recording a payment.
SqlTable(
    "payments",
    Table.metadata,
    Column("id", Uuid, primary_key=True),
    Column("user_id", Uuid, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    Column("metadata", JSONB, nullable=False),
    Column("status", Text, nullable=False),
    Column("reason", Text),
    Column("created_at", DateTime(timezone=True), nullable=False),
    CheckConstraint("amount BETWEEN 1 AND 9007199254740991", name="amount_is_positive_and_exact_in_json"),
    CheckConstraint("currency ~ '^[A-Z]{3}$'", name="currency_is_a_code"),
    CheckConstraint("jsonb_typeof(metadata) = 'object'", name="metadata_is_an_object"),
    CheckConstraint("status IN ('created', 'rejected')", name="status_is_final"),
    CheckConstraint("(status = 'rejected') = (reason IS NOT NULL)", name="a_rejection_has_a_reason"),
    # One index for each way to list, in its order: page 1000 costs the same as page 1.
    Index("payments_by_time", "created_at", "id"),
    Index("payments_by_user", "user_id", "created_at", "id"),
    Index("payments_by_status", "status", "created_at", "id"),
    Index("payments_by_user_and_status", "user_id", "status", "created_at", "id"),
)


@dataclass(frozen=True)
class Payment:
    """A payment; inserted once and never changed."""

    id: UUID
    user_id: UUID
    amount: int
    currency: str
    metadata: dict[str, str]
    status: PaymentStatus
    reason: str | None
    created_at: datetime

    @classmethod
    def decide(cls, command: CreatePayment, limit: int, *, payer_is_closed: bool = False) -> Self:
        """Return the payment for `command`: rejected if its payer is closed or its amount is over `limit`."""
        reason = PAYER_CLOSED if payer_is_closed else OVER_LIMIT if command.amount > limit else None
        return cls(
            id=command.id,
            user_id=command.user_id,
            amount=command.amount,
            currency=command.currency,
            metadata=command.metadata,
            status=PaymentStatus.REJECTED if reason else PaymentStatus.CREATED,
            reason=reason,
            created_at=command.created_at.astimezone(UTC),
        )

    @classmethod
    def copy_of(cls, view: PaymentView) -> Self:
        """Return the copy of a payment that another shard has recorded."""
        return cls(
            id=view.id,
            user_id=view.user_id,
            amount=view.amount,
            currency=view.currency,
            metadata=view.metadata,
            status=view.status,
            reason=view.reason,
            created_at=view.created_at.astimezone(UTC),
        )

    @classmethod
    def reject_by_operator(cls, command: CreatePayment) -> Self:
        """Return the payment of a command that an operator gives up, rejected whatever its amount."""
        return replace(cls.decide(command, limit=0), reason=GIVEN_UP)

    def same_order_as(self, existing: "Payment | PaymentView") -> bool:
        """Return whether `existing` has the same payer, amount, currency and metadata."""
        order = (self.user_id, self.amount, self.currency, self.metadata)
        return order == (existing.user_id, existing.amount, existing.currency, existing.metadata)

    def view(self) -> PaymentView:
        """Return this payment as it is shown to its payer."""
        return PaymentView(
            id=self.id,
            user_id=self.user_id,
            amount=self.amount,
            currency=self.currency,
            metadata=self.metadata,
            status=self.status,
            reason=self.reason,
            created_at=self.created_at,
        )

    def event(self) -> PaymentCreated | PaymentRejected:
        """Return the event that this payment was recorded."""
        rejected = self.status is PaymentStatus.REJECTED
        return PaymentRejected(payment=self.view()) if rejected else PaymentCreated(payment=self.view())


class PayerState(StrEnum):
    """The state of a payer."""

    ACTIVE = "active"
    DISABLED = "disabled"
    DELETED = "deleted"


class Payer(Table, table=True):
    """A user as the payments service knows it from the users service's events."""

    __tablename__ = "payers"
    __table_args__ = (
        CheckConstraint("version > 0", name="a_version_counts_from_one"),
        CheckConstraint("state IN ('active', 'disabled', 'deleted')", name="state_is_known"),
    )

    id: UUID = Field(primary_key=True)
    version: int = Field(sa_type=BigInteger)
    """The user's version; an event with the same or a lower one changes nothing."""
    state: str = Field(sa_type=Text)

    @classmethod
    def from_event(cls, event: UserCreated | UserUpdated | UserDeleted) -> Self:
        """Return the payer's state after `event`."""
        if isinstance(event, UserDeleted):
            state = PayerState.DELETED
        else:
            state = PayerState.DISABLED if event.user.disabled else PayerState.ACTIVE
        return cls(id=event.aggregate_id, version=event.aggregate_version, state=state.value)

    def supersedes(self, existing: Self | None) -> bool:
        """Return whether this version is newer than `existing`."""
        return existing is None or self.version > existing.version

    @property
    def is_closed(self) -> bool:
        """Whether payments of this payer are rejected."""
        return self.state != PayerState.ACTIVE


def subject_of(event: Event, shard: Shard) -> str:
    """Return the subject of a shard's event; that of a payer of another shard, which copies it, has its name too."""
    subject = shard.subject(event.subject)
    if shard.count > 1 and isinstance(event, PaymentCreated | PaymentRejected):
        payers = Shards(shard.count).of_user(event.payment.user_id)
        if payers != shard:
            return f"{subject}.{payers.name}"
    return subject


def belongs_to(shard: Shard, payment: UUID, payer: UUID) -> bool:
    """Return whether a shard records a payment or has a copy for its payer."""
    shards = Shards(shard.count)
    return shard in {shards.of_payment(payment), shards.of_user(payer)}


def latest(payers: Iterable[Payer]) -> list[Payer]:
    """Return the highest version of each payer, whatever the order of `payers`."""
    last: dict[UUID, Payer] = {}
    for payer in payers:
        if payer.supersedes(last.get(payer.id)):
            last[payer.id] = payer
    return list(last.values())


outbox = outbox_table(Table.metadata)
inbox = inbox_table(Table.metadata)
