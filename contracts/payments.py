"""Everything that the payments service is told, asked and says."""

from enum import StrEnum
from typing import Annotated, ClassVar
from uuid import UUID

from pydantic import AfterValidator, Field

from contracts.base import Command, Cursor, Event, Instant, Message, PageSize, Request, Text, example
from contracts.currencies import Currency

_PAYMENT = {
    "id": "6f1ed002-ab59-8f12-9a34-d5a3f9b1c7e2",
    "userId": "0198c5c8-7c1e-7a52-9d3b-4f1e8a6b2c01",
    "amount": 1999,
    "currency": "USD",
    "metadata": {"order": "A-1001"},
    "createdAt": "2026-01-31T12:00:00Z",
}

Amount = Annotated[
    int,
    Field(
        strict=True,
        ge=1,
        le=2**53 - 1,  # no larger than every JSON reader can tell (RFC 7493)
        description="In the currency's minor unit (ISO 4217): 1999 USD is $19.99, 1999 JPY is 1,999 yen.",
    ),
]

MetadataKey = Annotated[Text, Field(min_length=1, max_length=40)]
MetadataValue = Annotated[Text, Field(max_length=500)]


def _in_order(metadata: dict[str, str]) -> dict[str, str]:
    return dict(sorted(metadata.items()))


Metadata = Annotated[
    dict[MetadataKey, MetadataValue],
    Field(max_length=50, description="What the payer noted."),
    AfterValidator(_in_order),  # so that equal payments are equal byte for byte
]


class PaymentStatus(StrEnum):
    """How far a payment has come."""

    PENDING = "pending"
    CREATED = "created"
    REJECTED = "rejected"


class Charge(Message):
    """How much is paid, in what, and what the payer noted on it."""

    model_config = example(amount=1999, currency="USD", metadata={"order": "A-1001"})

    amount: Amount
    currency: Currency = "USD"
    metadata: Metadata = Field(default_factory=dict)


class CreatePayment(Command, Charge):
    """Record a payment; whoever sends it twice under one id makes one payment."""

    model_config = example(**_PAYMENT)
    subject: ClassVar[str] = "payments.create.{paymentId}"

    user_id: UUID = Field(description="Who pays.")
    created_at: Instant = Field(description="When it was accepted.")

    def pending(self) -> "PaymentView":
        """Show the payment that this will be, as it looks until then."""
        return PaymentView(**dict(self), status=PaymentStatus.PENDING)


class PaymentView(Message):
    """A payment as its payer may see it.

    `reason` says why it was rejected: `amount-over-limit`, `payer-closed` when the payer is disabled or deleted, or
    `given-up` by an operator.
    """

    model_config = example(**_PAYMENT, status="created")

    id: UUID
    user_id: UUID = Field(description="Who pays.")
    amount: int = Field(description="In the currency's minor unit (ISO 4217).")
    currency: str = Field(description="ISO 4217.")
    metadata: Annotated[dict[str, str], AfterValidator(_in_order)] = Field(description="What the payer noted.")
    status: PaymentStatus
    reason: Annotated[str | None, Field(exclude_if=lambda reason: reason is None)] = Field(
        None, description="Why it was rejected; of others it is not there."
    )
    created_at: Instant = Field(description="When it was accepted.")


class PaymentList(Message):
    """The payments that exist among those asked for, in any order."""

    model_config = example(payments=[_PAYMENT | {"status": "created"}])

    payments: tuple[PaymentView, ...]


class PaymentPage(Message):
    """Some payments, newest first, and where the next ones begin (null: there are none)."""

    model_config = example(payments=[_PAYMENT | {"status": "created"}], nextCursor=None)

    payments: tuple[PaymentView, ...]
    next_cursor: Cursor | None


class RejectPayment(Request[PaymentView]):
    """Record a payment that was accepted and cannot be carried out as rejected; one that is recorded already stands.

    For operators: it is how whoever was told that a payment is accepted learns that it was given up.
    """

    model_config = example(command=_PAYMENT)
    subject: ClassVar[str] = "payments.reject"

    command: CreatePayment


class GetPayments(Request[PaymentList]):
    """Look up many payments by id, recorded or still waiting; an unknown id is left out of the answer."""

    model_config = example(ids=[_PAYMENT["id"]])
    subject: ClassVar[str] = "payments.get_many"

    ids: tuple[UUID, ...] = Field(max_length=1000)


class ListPayments(Request[PaymentPage]):
    """Look through the recorded payments, newest first: everybody's, or one user's, or those in one state."""

    model_config = example(userId=_PAYMENT["userId"], limit=20)
    subject: ClassVar[str] = "payments.list"

    user_id: UUID | None = None
    status: PaymentStatus | None = None
    limit: PageSize = 20
    cursor: Cursor | None = None


class _PaymentEvent(Event):
    payment: PaymentView

    @property
    def aggregate_id(self) -> UUID:
        return self.payment.id

    @property
    def aggregate_version(self) -> int:
        return 1  # a payment is recorded once and never changed


class PaymentCreated(_PaymentEvent):
    """A payment is recorded and stands."""

    model_config = example(payment=_PAYMENT | {"status": "created"})
    subject: ClassVar[str] = "payment.created"


class PaymentRejected(_PaymentEvent):
    """A payment is recorded as refused; `reason` says why."""

    model_config = example(payment=_PAYMENT | {"status": "rejected", "reason": "amount-over-limit"})
    subject: ClassVar[str] = "payment.rejected"
