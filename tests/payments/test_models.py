"""The rules of a payment, without anything around them."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest

from apps.payments.models import Payment
from contracts.payments import PaymentCreated, PaymentRejected, PaymentStatus
from tests.support.payments_harness import order


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
def test_the_payer_and_the_limit_decide(
    amount: int, limit: int, closed: bool, status: PaymentStatus, reason: str | None
) -> None:
    command = order(amount=amount, metadata={"a": "b"})
    payment = Payment.decide(command, limit, payer_is_closed=closed)
    assert payment.view() == command.pending().model_copy(update={"status": status, "reason": reason})
    event = PaymentCreated if reason is None else PaymentRejected
    assert payment.event() == event(payment=payment.view())


def test_a_moment_is_kept_in_utc() -> None:
    elsewhere = datetime.fromisoformat("2026-01-31T12:00:00+02:00")
    payment = Payment.decide(order(created_at=elsewhere), 10)
    assert payment.created_at == elsewhere
    assert payment.created_at.tzinfo is UTC


def test_the_same_order_sent_later_orders_the_same() -> None:
    first = order(metadata={"a": "b"})
    again = first.model_copy(update={"created_at": datetime.now(UTC)})
    standing = Payment.decide(first, 10).view()
    assert Payment.decide(again, 10**9).same_order_as(standing)
    changes: list[dict[str, object]] = [{"amount": 1}, {"currency": "EUR"}, {"metadata": {}}, {"user_id": uuid4()}]
    for change in changes:
        assert not Payment.decide(first.model_copy(update=change), 10).same_order_as(standing)
