"""Accepting payments while a dependency is unavailable, full or late, and when the payment exists already."""

from typing import Any

import pytest
from nats.errors import NoRespondersError
from nats.errors import TimeoutError as NatsTimeout

from apps.gateway.errors import IdempotencyKeyReused, UnknownUser
from apps.gateway.payments.accept import AcceptedPayment
from contracts.errors import ErrorKind
from contracts.payments import PaymentStatus
from kit.errors import RemoteProblem, Unavailable
from tests.support.acceptance_harness import (
    BOB,
    NO_USER,
    NOT_FOUND,
    AcceptanceHarness,
    Reply,
    command,
    recorded,
    refusal,
)

UNAVAILABLE = [
    NoRespondersError(),
    NatsTimeout(),
    refusal(ErrorKind.UNAVAILABLE),
    refusal(ErrorKind.OUTCOME_UNKNOWN),
]


def test_key_determines_the_payment_id() -> None:
    assert command().id == command(amount=7).id
    assert command().id.version == 8
    one, other = command(key=None), command(key=None)
    assert one.id != other.id
    assert one.id.version == 7


async def test_payment_without_key_needs_no_lookup() -> None:
    harness = AcceptanceHarness()
    accepted = await harness.accept(key=None)
    assert accepted == AcceptedPayment(accepted.payment)
    assert accepted.payment.status is PaymentStatus.PENDING
    pending, _ = harness.queue.pending[accepted.payment.id]
    assert pending.pending() == accepted.payment


async def test_new_key_creates_a_payment() -> None:
    accepted = await AcceptanceHarness(NOT_FOUND).accept()
    assert not accepted.repeated
    assert not accepted.recorded


@pytest.mark.parametrize("status", list(PaymentStatus))
async def test_known_key_returns_the_existing_payment(status: PaymentStatus) -> None:
    existing = recorded(command(), status)
    harness = AcceptanceHarness(Reply(existing))
    pending = existing.model_copy(update={"status": PaymentStatus.PENDING})
    assert await harness.accept() == AcceptedPayment(pending, repeated=True)
    assert await harness.accept(wait=0) == AcceptedPayment(existing, repeated=True, waited=0)
    assert not harness.queue.pending


@pytest.mark.parametrize("other", [{"amount": 7}, {"payer": BOB}])
async def test_known_key_with_another_body_is_refused(other: dict[str, Any]) -> None:
    harness = AcceptanceHarness(Reply(recorded(command())))
    with pytest.raises(IdempotencyKeyReused):
        await harness.accept(**other)


async def test_key_of_a_queued_payment_is_known_after_its_payer_is_deleted() -> None:
    queued = command(payer=BOB).pending()
    accepted = await AcceptanceHarness(NOT_FOUND, NO_USER, Reply(queued)).accept(payer=BOB)
    assert accepted == AcceptedPayment(queued, repeated=True)
    with pytest.raises(UnknownUser):
        await AcceptanceHarness(NOT_FOUND, NO_USER, NOT_FOUND).accept(payer=BOB)


@pytest.mark.parametrize("failure", UNAVAILABLE)
async def test_queue_answers_while_payments_is_unavailable(failure: Reply | Exception) -> None:
    harness = AcceptanceHarness(failure)
    first = await harness.accept()
    again = await harness.accept()
    assert (first.repeated, again.repeated) == (False, True)
    assert again.payment == first.payment
    with pytest.raises(IdempotencyKeyReused):
        await harness.accept(amount=7)


@pytest.mark.parametrize("failure", UNAVAILABLE)
async def test_queue_remembers_a_recorded_payment_while_payments_is_unavailable(failure: Reply | Exception) -> None:
    harness = AcceptanceHarness(NOT_FOUND, failure)
    first = await harness.accept()
    harness.queue.record_all()
    assert await harness.accept() == AcceptedPayment(first.payment, repeated=True)
    with pytest.raises(IdempotencyKeyReused):
        await harness.accept(amount=7)


async def test_other_refusals_of_the_service_are_passed_on() -> None:
    harness = AcceptanceHarness(refusal(ErrorKind.INTERNAL))
    with pytest.raises(RemoteProblem, match="x"):
        await harness.accept()
    assert not harness.queue.pending


async def test_nothing_is_accepted_without_nats() -> None:
    harness = AcceptanceHarness()
    harness.broker.connected = False
    with pytest.raises(Unavailable, match="message broker"):
        await harness.accept()


async def test_second_of_two_concurrent_requests_gets_the_first_payment() -> None:
    harness = AcceptanceHarness(NOT_FOUND)
    first = command()
    await harness.queue.publish_keyed(first)  # after the lookup of the second, before its publish
    harness.broker.replies.append(Reply(recorded(first)))
    assert await harness.accept() == AcceptedPayment(first.pending(), repeated=True)
    harness.broker.replies = [NOT_FOUND, Reply(recorded(first))]
    with pytest.raises(IdempotencyKeyReused):
        await harness.accept(amount=7)


async def test_known_key_whose_payment_is_not_found_is_refused() -> None:
    """Such as by a replica that lags behind."""
    harness = AcceptanceHarness(NOT_FOUND)
    await harness.queue.publish_keyed(command())
    with pytest.raises(Unavailable, match="payments service"):
        await harness.accept()
