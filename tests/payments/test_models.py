"""The rules of a payment."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest

from apps.payments.models import Payment
from contracts.payments import PaymentCreated, PaymentRejected, PaymentStatus
from tests.support.payment_commands import new_command


@pytest.mark.parametrize(
    ("amount", "limit", "closed", "status", "reason"),
    [
        (100, 100, False, PaymentStatus.CREATED, None),
        (101, 100, False, PaymentStatus.REJECTED, "amount-over-limit"),
        (1, 0, False, PaymentStatus.REJECTED, "amount-over-limit"),
        (100, 100, True, PaymentStatus.REJECTED, "payer-closed"),
        (101, 100, True, PaymentStatus.REJECTED, "payer-closed"),
    ],
)
def test_payer_and_limit_decide(
    amount: int, limit: int, closed: bool, status: PaymentStatus, reason: str | None
) -> None:
    command = new_command(amount=amount, metadata={"a": "b"})
    payment = Payment.decide(command, limit, payer_is_closed=closed)
    assert payment.view() == command.pending().model_copy(update={"status": status, "reason": reason})
    event = PaymentCreated if reason is None else PaymentRejected
    assert payment.event() == event(payment=payment.view())


def test_times_are_stored_in_utc() -> None:
    with_offset = datetime.fromisoformat("2026-01-31T12:00:00+02:00")
    payment = Payment.decide(new_command(created_at=with_offset), 10)
    assert payment.created_at == with_offset
    assert payment.created_at.tzinfo is UTC


def test_a_later_repetition_is_the_same_order() -> None:
    first = new_command(metadata={"a": "b"})
    later = first.model_copy(update={"created_at": datetime.now(UTC)})
    existing = Payment.decide(first, 10).view()
    assert Payment.decide(later, 10**9).same_order_as(existing)
    changes: list[dict[str, object]] = [{"amount": 1}, {"currency": "EUR"}, {"metadata": {}}, {"user_id": uuid4()}]
    for change in changes:
        assert not Payment.decide(first.model_copy(update=change), 10).same_order_as(existing)
