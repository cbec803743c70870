"""Commands: each payment is recorded and published once, and a failing one does not affect the others."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest

from contracts.payments import CreatePayment, GetPayments, PaymentCreated, PaymentRejected, PaymentStatus
from contracts.streams import DEAD_LETTERS
from mkstore.testing.fakes.payments import REFUSED_AMOUNT
from tests.support.payment_commands import new_command
from tests.support.payments_harness import LIMIT, OnServers, PaymentsService
from tests.support.polling import eventually

BEFORE_UTC = datetime.fromisoformat("0001-01-01T00:00:00+14:00")
"""Valid in the contract, but before the first time that Python can express in UTC."""


async def test_a_payment_is_recorded_as_requested(service: PaymentsService) -> None:
    command = new_command(currency="JPY", metadata={"b": "é\n\U0001f600", "a": ""})
    await service.send(command)
    assert await service.recorded(command.id) == command.pending().model_copy(update={"status": PaymentStatus.CREATED})


async def test_its_event_has_the_request_id_of_the_command(service: PaymentsService) -> None:
    one, other = new_command(), new_command()
    await service.send(one, request_id="r1")
    await service.send(other, request_id="r2")
    for command, request_id in ((one, "r1"), (other, "r2")):
        view = await service.recorded(command.id)
        [published] = await service.published_events(command.id, 1)
        assert published.event == PaymentCreated(payment=view)
        assert published.headers["X-Request-Id"] == request_id


async def test_an_event_is_a_cloud_event(real_service: OnServers) -> None:
    before = datetime.now(UTC)
    command = new_command()
    await real_service.send(command)
    [published] = await real_service.published_events(command.id, 1)
    assert {
        "ce-specversion": "1.0",
        "ce-type": "payment.created",
        "ce-source": "mkstore/payments",
        "ce-subject": str(command.id),
        "ce-aggregateversion": "1",
        "ce-dataschema": "urn:mkstore:schema:payment.created:1",
        "content-type": "application/json",
    }.items() <= published.headers.items()
    assert published.headers["Nats-Msg-Id"] == published.headers["ce-id"]
    assert before <= datetime.fromisoformat(published.headers["ce-time"]) <= datetime.now(UTC)


@pytest.mark.parametrize(("amount", "status"), [(LIMIT, "created"), (LIMIT + 1, "rejected"), (2**53 - 1, "rejected")])
async def test_a_payment_over_the_limit_is_rejected(service: PaymentsService, amount: int, status: str) -> None:
    command = new_command(amount=amount)
    await service.send(command)
    view = await service.recorded(command.id)
    assert (view.status, view.reason) == (status, "amount-over-limit" if status == "rejected" else None)
    [published] = await service.published_events(command.id, 1)
    event_type = PaymentRejected if status == "rejected" else PaymentCreated
    assert published.event == event_type(payment=view)


async def test_a_repeated_command_changes_nothing(service: PaymentsService) -> None:
    command, last = new_command(), new_command()
    await service.send(command)
    view = await service.recorded(command.id)
    await service.send(*[command] * 5)
    await service.send(last)
    await service.recorded(last.id)
    await service.published_events(last.id, 1)
    assert await service.recorded(command.id) == view
    assert len(await service.published_events(command.id)) == 1
    assert await service.dead_letter_reason(command.id) is None


async def test_another_command_with_the_same_id_is_ignored_and_logged(
    service: PaymentsService, caplog: pytest.LogCaptureFixture
) -> None:
    first, other = new_command(amount=1), new_command(amount=2)
    second = other.model_copy(update={"id": first.id})
    await service.send(first)
    view = await service.recorded(first.id)
    await service.send(second)
    await eventually(lambda: "its id is taken by another" in caplog.text)
    assert await service.recorded(first.id) == view
    assert len(await service.published_events(first.id)) == 1
    assert await service.dead_letter_reason(first.id) is None


async def test_commands_with_one_id_at_the_same_time_are_one_payment(service: PaymentsService) -> None:
    """Which of them is recorded is open: two transactions at the same time are in no order."""
    first = new_command(amount=1)
    second = new_command(id=first.id, amount=2)
    last = new_command()
    async with service.table_locked():
        await service.send(first)
        await service.send(second, first, last)
    view = await service.recorded(first.id)
    assert view.amount in {1, 2}
    await service.recorded(last.id)
    await service.published_events(last.id, 1)
    [published] = await service.published_events(first.id, 1)
    assert published.event == PaymentCreated(payment=view)


@pytest.mark.parametrize(
    ("poison", "reason"),
    [({"amount": REFUSED_AMOUNT}, "RefusedByDatabase"), ({"created_at": BEFORE_UTC}, "OverflowError")],
    ids=["refused by the database", "not convertible to a row"],
)
async def test_a_failing_command_does_not_affect_the_others_in_its_batch(
    service: PaymentsService, poison: dict[str, object], reason: str
) -> None:
    good = [new_command(amount=n) for n in range(1, 31)]
    bad = [new_command(**poison), new_command(**poison)]
    async with service.table_locked():
        await service.send(*good[:15], bad[0], *good[15:], bad[1])
    await eventually(lambda: _all_recorded(service, good))
    for command in bad:
        assert await eventually(lambda command=command: service.dead_letter_reason(command.id)) == reason  # type: ignore[misc]
        # Dead-lettered, and still visible to the caller whose payment was accepted.
        assert await service.get(command.id) == command.pending()
    await eventually(lambda: _all_published(service, good))
    for command in good:
        assert await service.dead_letter_reason(command.id) is None


async def test_commands_that_arrive_together_are_recorded_together(real_service: OnServers) -> None:
    commands = [new_command() for _ in range(300)]
    async with real_service.table_locked():
        await real_service.send(*commands)
    await eventually(lambda: _all_recorded(real_service, commands))
    async with real_service.sql() as connection:
        transactions = await connection.fetchval(
            "SELECT count(DISTINCT xmin::text) FROM payments WHERE id = ANY($1)", [command.id for command in commands]
        )
    assert transactions <= 30


async def test_an_invalid_command_is_dead_lettered_alone(real_service: OnServers) -> None:
    before, after, bad = new_command(), new_command(), uuid4()
    await real_service.send(before)
    await real_service.broker.jetstream.publish(CreatePayment.address_of(bad), b'{"amount": -1}')
    await real_service.send(after)
    await real_service.recorded(before.id)
    await real_service.recorded(after.id)
    assert await eventually(lambda: real_service.dead_letter_reason(bad)) == "ValidationError"
    letter = await real_service.broker.jetstream.get_last_msg(DEAD_LETTERS.name, f"dead.payments.create.key.{bad}")
    headers = letter.headers or {}
    assert headers["Dead-Attempts"] == "1"
    assert headers["Dead-Stream"] == "KEYED_PAYMENT_COMMANDS"
    assert headers["Dead-Consumer"] == "payments-create_payment"
    first, last = (datetime.fromisoformat(headers[f"Dead-{which}-Time"]) for which in ("First", "Last"))
    assert first <= last
    assert letter.data == b'{"amount": -1}'


async def _all_recorded(service: PaymentsService, commands: list[CreatePayment]) -> bool:
    ids = {command.id for command in commands}
    views = (await service.request(GetPayments(ids=tuple(ids)))).payments
    return {view.id for view in views if view.status is not PaymentStatus.PENDING} == ids


async def _all_published(service: PaymentsService, commands: list[CreatePayment]) -> bool:
    """Return whether each payment has an event; fail if one has two."""
    ids = {command.id for command in commands}
    published = [each.event.aggregate_id for each in await service.all_events() if each.event.aggregate_id in ids]
    assert len(published) == len(set(published))
    return len(published) == len(ids)
