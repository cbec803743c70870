"""Payments that travel in one message: each is recorded, shown, dead-lettered and replayed alone."""

from functools import partial

from apps.payments.settings import Settings
from contracts.payments import CreatePayment, GetPayments, PaymentStatus
from contracts.streams import DEAD_LETTERS
from mkstore.testing.fakes.payments import REFUSED_AMOUNT
from tests.payments.test_dead_letters import POISON, dead_letter, operator, poison_refused
from tests.support.payment_commands import new_commands
from tests.support.payments_harness import OnServers
from tests.support.polling import eventually


async def test_payments_of_one_message_are_recorded_and_published(real_service: OnServers) -> None:
    commands = new_commands(100)
    await real_service.send_together(*commands)
    for command in commands:
        assert (await real_service.recorded(command.id)).status is PaymentStatus.CREATED
    for command in (commands[0], commands[-1]):
        assert len(await real_service.published_events(command.id, 1)) == 1


async def test_first_duplicate_in_a_message_wins(real_service: OnServers) -> None:
    first, last = new_commands(2)
    second = first.model_copy(update={"amount": first.amount + 1})
    await real_service.send_together(first, second, last)
    assert (await real_service.recorded(last.id)).status is PaymentStatus.CREATED
    assert (await real_service.recorded(first.id)).amount == first.amount
    assert len(await real_service.published_events(first.id, 1)) == 1


async def test_unrecorded_payments_of_a_message_are_pending(real_service: OnServers) -> None:
    commands = new_commands(20)
    async with real_service.table_locked():
        await real_service.send_together(*commands)
        ids = tuple(each.id for each in commands)
        views = (await real_service.request(GetPayments(ids=ids))).payments
        assert {view.id: view for view in views} == {each.id: each.pending() for each in commands}
        unknown = commands[0].id.int + 1000
        assert await real_service.get(type(commands[0].id)(int=unknown)) is None
        assert (await real_service.request(GetPayments(ids=ids, queued=False))).payments == ()
    await real_service.recorded(commands[-1].id)


async def test_two_bad_payments_of_a_message_are_two_dead_letters(real_service: OnServers) -> None:
    good, bad = new_commands(50), new_commands(2, amount=REFUSED_AMOUNT)
    renamed = [
        each.model_copy(update={"id": type(each.id)(int=good[0].id.int + 100 + place)})
        for place, each in enumerate(bad)
    ]
    await real_service.send_together(*good[:20], renamed[0], *good[20:], renamed[1])
    for command in good:
        await real_service.recorded(command.id)
    ids = []
    for command in renamed:
        assert await eventually(partial(real_service.dead_letter_reason, command.id)) == "RefusedByDatabase"
        letter = await real_service.broker.jetstream.get_last_msg(DEAD_LETTERS.name, f"dead.{command.address}")
        assert CreatePayment.model_validate_json(letter.data or b"") == command
        ids.append((letter.headers or {})["Nats-Msg-Id"])
        assert await real_service.get(command.id) == command.pending()
        assert (await real_service.request(GetPayments(ids=(command.id,), queued=False))).payments
    assert len(set(ids)) == 2


async def test_bad_payment_of_a_message_is_replayed_alone(real_service: OnServers, settings: Settings) -> None:
    commands = new_commands(3)
    poison = commands[1] = commands[1].model_copy(update={"amount": POISON})
    async with poison_refused(settings):
        await real_service.send_together(*commands)
        letter = await dead_letter(real_service, settings, poison.id)
        assert await real_service.get(poison.id) == poison.pending()
    assert (await operator(settings, "replay", letter))[0] == 0
    view = await real_service.recorded(poison.id)
    assert (view.status, view.amount) == (PaymentStatus.CREATED, POISON)
    assert len(await real_service.published_events(poison.id, 1)) == 1
