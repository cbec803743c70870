"""Events of the users service open and close payers; payments of closed payers are recorded as rejected."""

from contextlib import suppress
from uuid import uuid4

import pytest
from nats.js.errors import NotFoundError

from contracts.payments import PaymentCreated, PaymentRejected
from contracts.streams import DEAD_LETTERS, USER_EVENTS
from tests.payments.conftest import AnyService
from tests.support.payments_harness import LIMIT, ForReal, event_id, order, user_event
from tests.support.polling import eventually


@pytest.mark.parametrize("state", ["disabled", "deleted"])
async def test_what_a_closed_payer_ordered_is_recorded_as_rejected(service: AnyService, state: str) -> None:
    user = uuid4()
    await service.tell(user_event(user, 1), user_event(user, 2, state))
    await eventually(lambda: _is(service, user, (2, state)))
    command, over = order(user_id=user), order(user_id=user, amount=LIMIT + 1)
    await service.send(command, over)
    for each in (command, over):
        view = await service.recorded(each.id)
        assert (view.status, view.reason) == ("rejected", "payer-closed")
        [sent] = await eventually(lambda each=each: service.told(each.id))  # type: ignore[misc]
        assert sent.event == PaymentRejected(payment=view)


async def test_who_is_enabled_again_may_pay(service: AnyService) -> None:
    user = uuid4()
    await service.tell(user_event(user, 1), user_event(user, 2, "disabled"), user_event(user, 3))
    await eventually(lambda: _is(service, user, (3, "active")))
    command = order(user_id=user)
    await service.send(command)
    assert (await service.recorded(command.id)).status == "created"


async def test_who_was_not_heard_of_may_pay(service: AnyService) -> None:
    command = order()
    await service.send(command)
    assert (await service.recorded(command.id)).status == "created"


async def test_a_payment_that_is_recorded_stands_whatever_becomes_of_its_payer(service: AnyService) -> None:
    user = uuid4()
    command, last = order(user_id=user), order(user_id=user)
    await service.send(command)
    view = await service.recorded(command.id)
    await service.tell(user_event(user, 2, "deleted"))
    await eventually(lambda: _is(service, user, (2, "deleted")))
    await service.send(command, last)
    assert (await service.recorded(last.id)).status == "rejected"
    await eventually(lambda: service.told(last.id))
    assert await service.recorded(command.id) == view
    [sent] = await service.told(command.id)
    assert sent.event == PaymentCreated(payment=view)


async def test_one_that_was_rejected_stays_so_when_its_payer_is_enabled_again(service: AnyService) -> None:
    user = uuid4()
    command, last = order(user_id=user), order(user_id=user)
    await service.tell(user_event(user, 2, "disabled"))
    await eventually(lambda: _is(service, user, (2, "disabled")))
    await service.send(command)
    view = await service.recorded(command.id)
    await service.tell(user_event(user, 3))
    await eventually(lambda: _is(service, user, (3, "active")))
    await service.send(command, last)
    assert (await service.recorded(last.id)).status == "created"
    await eventually(lambda: service.told(last.id))
    assert await service.recorded(command.id) == view
    assert len(await service.told(command.id)) == 1


async def test_in_one_group_only_the_closed_payers_payments_are_rejected(service: AnyService) -> None:
    closed = uuid4()
    await service.tell(user_event(closed, 4, "deleted"))
    await eventually(lambda: _is(service, closed, (4, "deleted")))
    orders = [order(user_id=closed) if number % 3 == 0 else order() for number in range(30)]
    async with service.held():
        await service.send(*orders)
    for command in orders:
        expected = ("rejected", "payer-closed") if command.user_id == closed else ("created", None)
        view = await service.recorded(command.id)
        assert (view.status, view.reason) == expected


async def test_stale_and_repeated_events_change_nothing(service: AnyService) -> None:
    user = uuid4()
    told = [user_event(user, 1), user_event(user, 2, "disabled"), user_event(user, 3), user_event(user, 4, "deleted")]
    for number in (3, 1, 0, 2, 3, 2, 1, 0):
        await service.tell(told[number])
        await eventually(lambda: _is(service, user, (4, "deleted")))


async def test_an_event_that_does_not_fit_is_a_dead_letter_and_the_next_ones_are_taken(real_service: ForReal) -> None:
    user, jetstream = uuid4(), real_service.broker.jetstream
    await jetstream.publish("user.deleted", b'{"id": "nobody"}', headers={"ce-id": f"bad-{user}"})
    too_large = user_event(user, 2**70, "deleted")
    await jetstream.publish("user.deleted", too_large.model_dump_json().encode(), headers={"ce-id": f"large-{user}"})
    await real_service.tell(user_event(user, 2, "deleted"))
    await eventually(lambda: _is(real_service, user, (2, "deleted")))

    async def reasons() -> dict[str, str]:
        found = {}
        state = (await jetstream.stream_info(DEAD_LETTERS.name)).state
        for sequence in range(state.first_seq, state.last_seq + 1):
            with suppress(NotFoundError):  # another test's, and removed since
                headers = (await jetstream.get_msg(DEAD_LETTERS.name, sequence)).headers or {}
                found[headers.get("ce-id", "")] = headers.get("Dead-Reason", "")
        return found

    async def both_are_there() -> bool:
        return {f"bad-{user}", f"large-{user}"} <= (await reasons()).keys()

    await eventually(both_are_there)
    found = await reasons()
    assert (found[f"bad-{user}"], found[f"large-{user}"]) == ("ValidationError", "RefusedByDatabase")


async def test_each_handled_event_has_its_mark_under_its_consumer(real_service: ForReal) -> None:
    user = uuid4()
    told = [user_event(user, 1), user_event(user, 2, "disabled"), user_event(user, 3, "deleted")]
    await real_service.tell(*told, *told)
    await eventually(lambda: _is(real_service, user, (3, "deleted")))
    await eventually(lambda: _all_acked(real_service))
    async with real_service.sql() as connection:
        rows = await connection.fetch(
            "SELECT consumer, message_id FROM inbox WHERE message_id = ANY($1)", [event_id(event) for event in told]
        )
    names = ("payments-open_payer", "payments-change_payer", "payments-close_payer")
    expected = {(name, event_id(event)) for name, event in zip(names, told, strict=True)}
    assert {(row["consumer"], row["message_id"]) for row in rows} == expected
    assert len(rows) == 3


async def _is(service: AnyService, user: object, expected: tuple[int, str]) -> bool:
    return await service.payer(user) == expected  # type: ignore[arg-type]


async def _all_acked(service: ForReal) -> bool:
    for name in ("open_payer", "change_payer", "close_payer"):
        info = await service.broker.jetstream.consumer_info(USER_EVENTS.name, f"payments-{name}")
        if info.num_pending or info.num_ack_pending:
            return False
    return True
