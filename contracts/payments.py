"""Requests, commands and events of the payments service."""

from enum import StrEnum
from typing import Annotated, Any, ClassVar
from uuid import UUID

from pydantic import AfterValidator, Field

from contracts.base import (
    BatchItem,
    Command,
    CommandBatch,
    Cursor,
    Event,
    Instant,
    Message,
    Page,
    PageSize,
    Request,
    Text,
    example,
)
from contracts.currencies import Currency

_PAYMENT = {
    "id": "6f1ed002-ab59-8f12-9a34-d5a3f9b1c7e2",
    "userId": "0198c5c8-7c1e-7a52-9d3b-4f1e8a6b2c01",
    "amount": 1999,
    "currency": "USD",
    "metadata": {"order": "A-1001"},
    "createdAt": "2026-01-31T12:00:00Z",
}

_UNKEYED = _PAYMENT | {"id": "0198c5c8-7c1e-7a52-9d3b-4f1ed2ac0000"}
_REQUEST_ID = "0198c5c8-7c1e-7a52-9d3b-4f1e8a6b2c01"
_TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

MAX_BATCH_PAYMENTS = 1000
"""Payments in one `CreatePayments`."""
_BATCH_DIGITS = 24
"""Hexadecimal digits that the ids of a batch's payments share: all but the last 32 bits."""

Amount = Annotated[
    int,
    Field(
        strict=True,
        ge=1,
        le=2**53 - 1,  # the largest integer that every JSON parser represents exactly (RFC 7493)
        description="In the currency's minor unit (ISO 4217): 1999 USD is $19.99, 1999 JPY is 1,999 yen.",
    ),
]

_KEY_PATTERN = r"^[^\x00\[\]]*$"
"""Form encodings write nested objects as `metadata[key]`, in which a key with brackets is ambiguous."""
MetadataKey = Annotated[str, Field(min_length=1, max_length=40, pattern=_KEY_PATTERN)]
MetadataValue = Annotated[Text, Field(max_length=500)]


def _in_order(metadata: dict[str, str]) -> dict[str, str]:
    return dict(sorted(metadata.items()))


def _limit_every_key(schema: dict[str, Any]) -> None:
    """Let the pattern limit all keys: pydantic's `patternProperties` alone allows what does not match."""
    schema["propertyNames"]["pattern"] = _KEY_PATTERN
    schema["additionalProperties"] = schema.pop("patternProperties").pop(_KEY_PATTERN)


Metadata = Annotated[
    dict[MetadataKey, MetadataValue],
    Field(
        max_length=50,
        description="Notes of the payer; a key has no `[` and no `]`.",
        json_schema_extra=_limit_every_key,
    ),
    AfterValidator(_in_order),  # sorted, so that equal payments are equal byte for byte
]


class PaymentStatus(StrEnum):
    """Status of a payment."""

    PENDING = "pending"
    CREATED = "created"
    REJECTED = "rejected"


class Charge(Message):
    """Amount, currency and metadata of a payment."""

    model_config = example(amount=1999, currency="USD", metadata={"order": "A-1001"})

    amount: Amount
    currency: Currency = "USD"
    metadata: Metadata = Field(default_factory=dict)


class CreatePayment(Command, Charge):
    """Record a payment; a repetition with the same id makes no second payment."""

    model_config = example(**_PAYMENT)
    subject: ClassVar[str] = "payments.create.key.{paymentId}"

    user_id: UUID = Field(description="Id of the payer.")
    created_at: Instant = Field(description="Time of acceptance.")

    def pending(self) -> "PaymentView":
        """Return the payment as it is shown until it is recorded."""
        return PaymentView(
            id=self.id,
            user_id=self.user_id,
            amount=self.amount,
            currency=self.currency,
            metadata=self.metadata,
            created_at=self.created_at,
            status=PaymentStatus.PENDING,
        )


class BatchedPayment(BatchItem[CreatePayment]):
    """A payment of a batch."""

    model_config = example(payment=_UNKEYED, requestId=_REQUEST_ID, traceparent=_TRACEPARENT)

    command: CreatePayment = Field(alias="payment")


class CreatePayments(CommandBatch[BatchedPayment]):
    """Record payments without an `Idempotency-Key` that arrived together at one gateway process.

    Their ids have the same first 96 bits, which are also in the subject. So a payment that is not recorded yet is found
    by its id.
    """

    model_config = example(
        batch="0198c5c87c1e7a529d3b4f1e",
        payments=[{"payment": _UNKEYED, "requestId": _REQUEST_ID, "traceparent": _TRACEPARENT}],
    )
    subject: ClassVar[str] = "payments.create.batch.{batch}"

    batch: str = Field(
        pattern=r"^[0-9a-f]{24}$", description="The first 96 bits of the ids of its payments, in hexadecimal digits."
    )
    items: tuple[BatchedPayment, ...] = Field(alias="payments", min_length=1, max_length=MAX_BATCH_PAYMENTS)

    @classmethod
    def address_with(cls, payment_id: UUID) -> str:
        """Return the subject of the batch that holds the payment with this id."""
        return cls.subject.replace("{batch}", payment_id.hex[:_BATCH_DIGITS])


class PaymentView(Message):
    """A payment as its payer sees it.

    `reason` says why it was rejected: `amount-over-limit`, `payer-closed` when the payer is disabled or deleted, or
    `given-up` by an operator.
    """

    model_config = example(**_PAYMENT, status="created")

    id: UUID
    user_id: UUID = Field(description="Id of the payer.")
    amount: int = Field(description="In the currency's minor unit (ISO 4217).")
    currency: str = Field(description="ISO 4217.")
    metadata: Annotated[dict[str, str], AfterValidator(_in_order)] = Field(description="Notes of the payer.")
    status: PaymentStatus
    reason: Annotated[str | None, Field(exclude_if=lambda reason: reason is None)] = Field(
        None, description="Reason of a rejected payment; absent for others."
    )
    created_at: Instant = Field(description="Time of acceptance.")


class PaymentList(Message):
    """The requested payments that exist, in any order."""

    model_config = example(payments=[_PAYMENT | {"status": "created"}])

    payments: tuple[PaymentView, ...]


class PaymentPage(Page[PaymentView]):
    """A page of payments, newest first."""

    model_config = example(
        data=[_PAYMENT | {"status": "created"}], hasMore=True, nextCursor="AAZJrdRJMABvHtACq1mPEpo01aP5scfi"
    )


class RejectPayment(Request[PaymentView]):
    """Record an accepted payment that cannot be processed as rejected; a payment that is already recorded stays.

    For operators, before a dead letter is discarded: the payer sees the payment as rejected.
    """

    model_config = example(command=_PAYMENT)
    subject: ClassVar[str] = "payments.reject"

    command: CreatePayment


class GetPayments(Request[PaymentList]):
    """Return the payments with these ids, recorded or pending, in any order; unknown ids are left out."""

    model_config = example(ids=[_PAYMENT["id"]])
    subject: ClassVar[str] = "payments.get_many"

    ids: tuple[UUID, ...] = Field(max_length=1000)
    queued: bool = Field(
        True, description="Whether to search the queues, too; without them only recorded and dead-lettered payments."
    )


class ListPayments(Request[PaymentPage]):
    """List recorded payments, newest first, optionally of one user or with one status."""

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
        return 1  # a payment is recorded once and never changes


class PaymentCreated(_PaymentEvent):
    """A payment was recorded."""

    model_config = example(payment=_PAYMENT | {"status": "created"})
    subject: ClassVar[str] = "payment.created"


class PaymentRejected(_PaymentEvent):
    """A payment was recorded as rejected; see `reason`."""

    model_config = example(payment=_PAYMENT | {"status": "rejected", "reason": "amount-over-limit"})
    subject: ClassVar[str] = "payment.rejected"
