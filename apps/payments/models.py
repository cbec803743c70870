"""Payments and payers: the tables and the rules on them."""

from collections.abc import Iterable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Self
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Column, DateTime, Index, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from contracts.payments import CreatePayment, PaymentCreated, PaymentRejected, PaymentStatus, PaymentView
from contracts.users import UserCreated, UserDeleted, UserUpdated
from kit.inbox import inbox_table
from kit.outbox.table import outbox_table

OVER_LIMIT = "amount-over-limit"
GIVEN_UP = "given-up"
PAYER_CLOSED = "payer-closed"


class Table(SQLModel, registry=registry()):
    """The base of this service's tables: two services' tables must not meet on one metadata in one test process."""


class Payment(Table, table=True):
    """A payment as it is recorded: once, and never changed."""

    __tablename__ = "payments"
    __table_args__ = (
        CheckConstraint("amount BETWEEN 1 AND 9007199254740991", name="amount_is_positive_and_exact_in_json"),
        CheckConstraint("currency ~ '^[A-Z]{3}$'", name="currency_is_a_code"),
        CheckConstraint("jsonb_typeof(metadata) = 'object'", name="metadata_is_an_object"),
        CheckConstraint("status IN ('created', 'rejected')", name="status_is_final"),
        CheckConstraint("(status = 'rejected') = (reason IS NOT NULL)", name="a_rejection_has_a_reason"),
        # Each way to list has an index in its order: page 1000 is one descent and a few neighbours, as page 1 is.
        Index("payments_by_time", "created_at", "id"),
        Index("payments_by_user", "user_id", "created_at", "id"),
        Index("payments_by_status", "status", "created_at", "id"),
        Index("payments_by_user_and_status", "user_id", "status", "created_at", "id"),
    )

    id: UUID = Field(primary_key=True)
    user_id: UUID
    amount: int = Field(sa_type=BigInteger)
    currency: str = Field(sa_type=Text)
    notes: dict[str, str] = Field(sa_column=Column("metadata", JSONB, nullable=False))
    """The payer's metadata; that name belongs to SQLAlchemy."""
    status: str = Field(sa_type=Text)
    reason: str | None = Field(None, sa_type=Text)
    created_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))

    @classmethod
    def decide(cls, command: CreatePayment, limit: int, *, payer_is_closed: bool = False) -> Self:
        """Return the payment that `command` orders.

        It is rejected when its payer is known to be gone or disabled, or its amount is over `limit`; else created.
        """
        reason = PAYER_CLOSED if payer_is_closed else OVER_LIMIT if command.amount > limit else None
        return cls(
            id=command.id,
            user_id=command.user_id,
            amount=command.amount,
            currency=command.currency,
            notes=command.metadata,
            status=(PaymentStatus.REJECTED if reason else PaymentStatus.CREATED).value,
            reason=reason,
            created_at=command.created_at.astimezone(UTC),
        )

    @classmethod
    def give_up(cls, command: CreatePayment) -> Self:
        """Return the payment that `command` ordered and that will never be made: rejected, whatever its amount."""
        payment = cls.decide(command, limit=0)
        payment.reason = GIVEN_UP
        return payment

    def orders_the_same_as(self, standing: PaymentView) -> bool:
        """Tell whether `standing` comes from the same order, whenever that was sent."""
        ordered = (self.user_id, self.amount, self.currency, self.notes)
        return ordered == (standing.user_id, standing.amount, standing.currency, standing.metadata)

    def view(self) -> PaymentView:
        """Show this payment as its payer may see it."""
        return PaymentView(
            id=self.id,
            user_id=self.user_id,
            amount=self.amount,
            currency=self.currency,
            metadata=self.notes,
            status=PaymentStatus(self.status),
            reason=self.reason,
            created_at=self.created_at,
        )

    def event(self) -> PaymentCreated | PaymentRejected:
        """Return the fact that this payment's recording is."""
        rejected = self.status == PaymentStatus.REJECTED
        return PaymentRejected(payment=self.view()) if rejected else PaymentCreated(payment=self.view())


class PayerState(StrEnum):
    """What is known of somebody who pays."""

    ACTIVE = "active"
    DISABLED = "disabled"
    DELETED = "deleted"


class Payer(Table, table=True):
    """A user as far as payments are concerned, as the users service has last told."""

    __tablename__ = "payers"
    __table_args__ = (
        CheckConstraint("version > 0", name="a_version_counts_from_one"),
        CheckConstraint("state IN ('active', 'disabled', 'deleted')", name="state_is_known"),
    )

    id: UUID = Field(primary_key=True)
    version: int = Field(sa_type=BigInteger)
    """The user's: what is told with a lower one, or the same again, is no news."""
    state: str = Field(sa_type=Text)

    @classmethod
    def told_by(cls, event: UserCreated | UserUpdated | UserDeleted) -> Self:
        """Return the payer that a user is since `event`."""
        if isinstance(event, UserDeleted):
            state = PayerState.DELETED
        else:
            state = PayerState.DISABLED if event.user.disabled else PayerState.ACTIVE
        return cls(id=event.aggregate_id, version=event.aggregate_version, state=state.value)

    def supersedes(self, known: Self | None) -> bool:
        """Tell whether this is news to whom `known` is known."""
        return known is None or self.version > known.version

    @property
    def is_closed(self) -> bool:
        """Whether payments of this payer are rejected."""
        return self.state != PayerState.ACTIVE


def newest(told: Iterable[Payer]) -> list[Payer]:
    """Return the last that was told of each payer, in whatever order it came."""
    last: dict[UUID, Payer] = {}
    for payer in told:
        if payer.supersedes(last.get(payer.id)):
            last[payer.id] = payer
    return list(last.values())


outbox = outbox_table(Table.metadata)
inbox = inbox_table(Table.metadata)
