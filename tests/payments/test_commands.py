"""Payments are recorded once, decided by the limit, told of once, and never spoil each other."""

import asyncio
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from contracts.payments import GetPayments, PaymentCreated, PaymentRejected, PaymentStatus
from contracts.streams import DEAD_LETTERS
from tests.payments.conftest import AnyService
from tests.support.payments_fakes import REFUSED_AMOUNT
from tests.support.payments_harness import LIMIT, ForReal, order
from tests.support.polling import eventually

NO_MOMENT = datetime.fromisoformat("0001-01-01T00:00:00+14:00")
"""It fits the contract, and is before the first moment that can be told in UTC."""


async def test_a_payment_is_recorded_as_it_was_ordered(service: AnyService) -> None:
    command = order(currency="JPY", metadata={"b": "é\n\U0001f600", "a": ""})
    await service.send(command)
    assert await service.recorded(command.id) == command.pending().model_copy(update={"status": PaymentStatus.CREATED})


async def test_its_event_is_sent_once_with_the_request_that_it_came_with(service: AnyService) -> None:
    one, other = order(), order()
    await service.send(one, request_id="r1")
    await service.send(other, request_id="r2")
    for command, request_id in ((one, "r1"), (other, "r2")):
        view = await service.recorded(command.id)
        [sent] = await eventually(lambda command=command: service.told(command.id))  # type: ignore[misc]
        assert sent.event == PaymentCreated(payment=view)
        assert sent.headers["X-Request-Id"] == request_id


async def test_an_event_is_a_cloud_event(real_service: ForReal) -> None:
    command = order()
    await real_service.send(command)
    [sent] = await eventually(lambda: real_service.told(command.id))
    assert {
        "ce-specversion": "1.0",
        "ce-type": "payment.created",
        "ce-source": "mkstore/payments",
        "ce-subject": str(command.id),
        "ce-aggregateversion": "1",
        "content-type": "application/json",
    }.items() <= sent.headers.items()
    assert sent.headers["Nats-Msg-Id"] == sent.headers["ce-id"]
    age = datetime.now(UTC) - datetime.fromisoformat(sent.headers["ce-time"])
    assert 0 <= age.total_seconds() < 60


@pytest.mark.parametrize(("amount", "status"), [(LIMIT, "created"), (LIMIT + 1, "rejected"), (2**53 - 1, "rejected")])
async def test_a_payment_over_the_limit_is_recorded_as_rejected(service: AnyService, amount: int, status: str) -> None:
    command = order(amount=amount)
    await service.send(command)
    view = await service.recorded(command.id)
    assert (view.status, view.reason) == (status, "amount-over-limit" if status == "rejected" else None)
    [sent] = await eventually(lambda: service.told(command.id))
    assert type(sent.event) is (PaymentRejected if status == "rejected" else PaymentCreated)
    assert sent.event.payment == view


async def test_the_same_command_again_changes_nothing(service: AnyService) -> None:
    command, last = order(), order()
    await service.send(command)
    view = await service.recorded(command.id)
    await service.send(*[command] * 5)
    await service.send(last)
    await service.recorded(last.id)
    await eventually(lambda: service.told(last.id))
    assert await service.recorded(command.id) == view
    assert len(await service.told(command.id)) == 1
    assert await service.dead(command.id) is None


async def test_another_command_under_the_same_id_changes_nothing_and_is_logged(
    service: AnyService, caplog: pytest.LogCaptureFixture
) -> None:
    first, other = order(amount=1), order(amount=2)
    second = other.model_copy(update={"id": first.id})
    await service.send(first)
    view = await service.recorded(first.id)
    await service.send(second)
    await eventually(lambda: "its id is taken by another" in caplog.text)
    assert await service.recorded(first.id) == view
    assert len(await service.told(first.id)) == 1
    assert await service.dead(first.id) is None


async def test_of_two_under_one_id_in_one_group_the_first_stands(service: AnyService) -> None:
    first = order(amount=1)
    second = order(id=first.id, amount=2)
    last = order()
    async with service.held():
        await service.send(order())  # the group that is held at the lock; the others gather behind it
        await service.send(order())
        await service.send(first)
        await service.send(second, first, last)
        await asyncio.sleep(0.05)
    assert (await service.recorded(first.id)).amount == 1
    await service.recorded(last.id)
    await eventually(lambda: service.told(last.id))
    assert len(await service.told(first.id)) == 1


@pytest.mark.parametrize(
    ("poison", "reason"),
    [({"amount": REFUSED_AMOUNT}, "RefusedByDatabase"), ({"created_at": NO_MOMENT}, "OverflowError")],
    ids=["the database refuses it", "no row can be made of it"],
)
async def test_a_poisonous_command_does_not_take_its_neighbours_along(
    service: AnyService, poison: dict[str, object], reason: str
) -> None:
    good = [order(amount=n) for n in range(1, 61)]
    bad = [order(**poison), order(**poison)]
    async with service.held():
        await service.send(*good[:30], bad[0], *good[30:], bad[1])
    found = await eventually(lambda: _all_recorded(service, [command.id for command in good]))
    assert found
    for command in bad:
        assert await eventually(lambda command=command: service.dead(command.id)) == reason  # type: ignore[misc]
        # Dead-lettered, and still visible to the caller whose payment was accepted.
        assert await service.get(command.id) == command.pending()
    for command in good:
        await eventually(lambda command=command: service.told(command.id))  # type: ignore[misc]
        assert len(await service.told(command.id)) == 1
        assert await service.dead(command.id) is None


async def test_commands_that_arrive_together_are_recorded_together(
    real_service: ForReal,
) -> None:
    orders = [order() for _ in range(300)]
    async with real_service.held():
        await real_service.send(*orders)
    assert await eventually(lambda: _all_recorded(real_service, [command.id for command in orders]))
    async with real_service.sql() as connection:
        transactions = await connection.fetchval(
            "SELECT count(DISTINCT xmin::text) FROM payments WHERE id = ANY($1)", [command.id for command in orders]
        )
    assert transactions <= 30


async def test_what_does_not_fit_its_contract_is_a_dead_letter_and_its_neighbours_are_recorded(
    real_service: ForReal,
) -> None:
    before, after, bad = order(), order(), uuid4()
    await real_service.send(before)
    await real_service.broker.jetstream.publish(f"payments.create.{bad}", b'{"amount": -1}')
    await real_service.send(after)
    await real_service.recorded(before.id)
    await real_service.recorded(after.id)
    assert await eventually(lambda: real_service.dead(bad)) == "ValidationError"
    letter = await real_service.broker.jetstream.get_last_msg(DEAD_LETTERS.name, f"dead.payments.create.{bad}")
    headers = letter.headers or {}
    assert headers["Dead-Attempts"] == "1"
    assert headers["Dead-Stream"] == "PAYMENT_COMMANDS"
    assert headers["Dead-Consumer"] == "payments-create_payment"
    first, last = (datetime.fromisoformat(headers[f"Dead-{which}-Time"]) for which in ("First", "Last"))
    assert first <= last
    assert letter.data == b'{"amount": -1}'


async def _all_recorded(service: AnyService, ids: list[object]) -> bool:
    views = (await service.ask(GetPayments(ids=tuple(ids)))).payments
    return {view.id for view in views if view.status is not PaymentStatus.PENDING} == set(ids)
