"""Events of the users service open and close payers; payments of closed payers are recorded as rejected."""

from contextlib import suppress
from uuid import uuid4

import pytest
from nats.js.errors import NotFoundError

from contracts.payments import PaymentCreated, PaymentRejected
from contracts.streams import DEAD_LETTERS, USER_EVENTS
from tests.support.payment_commands import new_command
from tests.support.payments_harness import LIMIT, OnServers, PaymentsService, event_id, user_event
from tests.support.polling import eventually


@pytest.mark.parametrize("state", ["disabled", "deleted"])
async def test_payments_of_a_closed_payer_are_rejected(service: PaymentsService, state: str) -> None:
    user = uuid4()
    await service.publish(user_event(user, 1), user_event(user, 2, state))
    await eventually(lambda: _is(service, user, (2, state)))
    command, over = new_command(user_id=user), new_command(user_id=user, amount=LIMIT + 1)
    await service.send(command, over)
    for each in (command, over):
        view = await service.recorded(each.id)
        assert (view.status, view.reason) == ("rejected", "payer-closed")
        [published] = await service.published_events(each.id, 1)
        assert published.event == PaymentRejected(payment=view)


async def test_a_payer_who_is_enabled_again_may_pay(service: PaymentsService) -> None:
    user = uuid4()
    await service.publish(user_event(user, 1), user_event(user, 2, "disabled"), user_event(user, 3))
    await eventually(lambda: _is(service, user, (3, "active")))
    command = new_command(user_id=user)
    await service.send(command)
    assert (await service.recorded(command.id)).status == "created"


async def test_an_unknown_payer_may_pay(service: PaymentsService) -> None:
    command = new_command()
    await service.send(command)
    assert (await service.recorded(command.id)).status == "created"


async def test_a_recorded_payment_stays_when_its_payer_is_deleted(service: PaymentsService) -> None:
    user = uuid4()
    command, last = new_command(user_id=user), new_command(user_id=user)
    await service.send(command)
    view = await service.recorded(command.id)
    await service.publish(user_event(user, 2, "deleted"))
    await eventually(lambda: _is(service, user, (2, "deleted")))
    await service.send(command, last)
    assert (await service.recorded(last.id)).status == "rejected"
    await service.published_events(last.id, 1)
    assert await service.recorded(command.id) == view
    [published] = await service.published_events(command.id)
    assert published.event == PaymentCreated(payment=view)


async def test_a_rejected_payment_stays_when_its_payer_is_enabled(service: PaymentsService) -> None:
    user = uuid4()
    command, last = new_command(user_id=user), new_command(user_id=user)
    await service.publish(user_event(user, 2, "disabled"))
    await eventually(lambda: _is(service, user, (2, "disabled")))
    await service.send(command)
    view = await service.recorded(command.id)
    await service.publish(user_event(user, 3))
    await eventually(lambda: _is(service, user, (3, "active")))
    await service.send(command, last)
    assert (await service.recorded(last.id)).status == "created"
    await service.published_events(last.id, 1)
    assert await service.recorded(command.id) == view
    assert len(await service.published_events(command.id)) == 1


async def test_in_a_batch_only_payments_of_closed_payers_are_rejected(service: PaymentsService) -> None:
    closed = uuid4()
    await service.publish(user_event(closed, 4, "deleted"))
    await eventually(lambda: _is(service, closed, (4, "deleted")))
    commands = [new_command(user_id=closed) if number % 3 == 0 else new_command() for number in range(30)]
    async with service.table_locked():
        await service.send(*commands)
    for command in commands:
        expected = ("rejected", "payer-closed") if command.user_id == closed else ("created", None)
        view = await service.recorded(command.id)
        assert (view.status, view.reason) == expected


async def test_stale_and_repeated_events_change_nothing(service: PaymentsService) -> None:
    user = uuid4()
    events = [user_event(user, 1), user_event(user, 2, "disabled"), user_event(user, 3), user_event(user, 4, "deleted")]
    for number in (3, 1, 0, 2, 3, 2, 1, 0):
        await service.publish(events[number])
        await eventually(lambda: _is(service, user, (4, "deleted")))


async def test_an_invalid_event_is_dead_lettered_alone(real_service: OnServers) -> None:
    user, jetstream = uuid4(), real_service.broker.jetstream
    await jetstream.publish("user.deleted", b'{"id": "nobody"}', headers={"ce-id": f"bad-{user}"})
    too_large = user_event(user, 2**70, "deleted")
    await jetstream.publish("user.deleted", too_large.model_dump_json().encode(), headers={"ce-id": f"large-{user}"})
    await real_service.publish(user_event(user, 2, "deleted"))
    await eventually(lambda: _is(real_service, user, (2, "deleted")))

    async def reasons() -> dict[str, str]:
        reasons_by_event = {}
        state = (await jetstream.stream_info(DEAD_LETTERS.name)).state
        for sequence in range(state.first_seq, state.last_seq + 1):
            with suppress(NotFoundError):  # a dead letter of another test, removed meanwhile
                headers = (await jetstream.get_msg(DEAD_LETTERS.name, sequence)).headers or {}
                reasons_by_event[headers.get("ce-id", "")] = headers.get("Dead-Reason", "")
        return reasons_by_event

    async def both_are_dead_letters() -> bool:
        return {f"bad-{user}", f"large-{user}"} <= (await reasons()).keys()

    await eventually(both_are_dead_letters)
    actual = await reasons()
    assert (actual[f"bad-{user}"], actual[f"large-{user}"]) == ("ValidationError", "RefusedByDatabase")


async def test_each_handled_event_has_one_inbox_row(real_service: OnServers) -> None:
    user = uuid4()
    events = [user_event(user, 1), user_event(user, 2, "disabled"), user_event(user, 3, "deleted")]
    await real_service.publish(*events, *events)
    await eventually(lambda: _is(real_service, user, (3, "deleted")))
    await eventually(lambda: _all_acked(real_service))
    async with real_service.sql() as connection:
        rows = await connection.fetch(
            "SELECT consumer, message_id FROM inbox WHERE message_id = ANY($1)", [event_id(event) for event in events]
        )
    names = ("payments-open_payer", "payments-change_payer", "payments-close_payer")
    expected = {(name, event_id(event)) for name, event in zip(names, events, strict=True)}
    assert {(row["consumer"], row["message_id"]) for row in rows} == expected
    assert len(rows) == 3


async def _is(service: PaymentsService, user: object, expected: tuple[int, str]) -> bool:
    return await service.payer(user) == expected  # type: ignore[arg-type]


async def _all_acked(service: OnServers) -> bool:
    for name in ("open_payer", "change_payer", "close_payer"):
        info = await service.broker.jetstream.consumer_info(USER_EVENTS.name, f"payments-{name}")
        if info.num_pending or info.num_ack_pending:
            return False
    return True
