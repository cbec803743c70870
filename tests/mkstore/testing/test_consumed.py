"""What the durable consumers of a store in memory have handled, and how missing ones are reported."""

from uuid import uuid4

import pytest

from contracts.consumers import PAYMENTS_CREATE_PAYMENTS, PAYMENTS_OPEN_PAYER
from contracts.payments import PaymentCreated
from contracts.users import UserCreated, UserDeleted
from kit.errors import Unavailable
from mkstore.testing import MemoryStore, in_memory
from tests.support.audit_service import AUDIT, Notes, audit


async def test_handled_messages_are_returned(store: MemoryStore) -> None:
    ada = await store.sign_up()
    [consumed] = await store.consumed(PAYMENTS_OPEN_PAYER)
    assert str(consumed.message.user.id) == ada.id
    assert (consumed.outcome, consumed.attempts, consumed.dead_letters) == ("handled", 1, ())


async def test_consumers_of_an_event_can_be_asked_for() -> None:
    notes = Notes()
    async with in_memory(others={"audit": audit(notes)}) as store:
        payment = await (await store.sign_up()).paid()
        assert [each.consumer for each in await store.consumed(PaymentCreated)] == ["audit-note_payment"]
    assert notes.payments == [payment["id"]]


async def test_failed_message_is_retried() -> None:
    notes = Notes(RuntimeError("first"), RuntimeError("second"))
    async with in_memory(others={"audit": audit(notes)}) as store:
        await (await store.sign_up()).paid()
        [consumed] = await store.consumed(AUDIT)
    assert (consumed.outcome, consumed.attempts, len(notes.payments)) == ("handled", 3, 1)


async def test_outage_is_retried_without_a_limit() -> None:
    notes = Notes(*[Unavailable("ledger")] * 25)
    async with in_memory(others={"audit": audit(notes)}) as store:
        await (await store.sign_up()).paid()
        [consumed] = await store.consumed(AUDIT)
    assert (consumed.outcome, consumed.attempts) == ("handled", 26)


async def test_payment_waits_for_the_database(store: MemoryStore) -> None:
    data = store.services["payments"].data
    ada = await store.sign_up()
    await store.consumed(PAYMENTS_OPEN_PAYER)
    data.failure = Unavailable("database")
    payment = (await ada.pay()).json()
    with pytest.raises(AssertionError, match=r"payments-create_payments payments\.create\.batch\.\w+ waiting"):
        await store.consumed(PAYMENTS_CREATE_PAYMENTS, timeout=0)
    data.failure = None
    assert (await ada.recorded(payment["id"]))["status"] == "created"


async def test_repeated_event_is_delivered_once_within_the_duplicate_window() -> None:
    notes, event_id = Notes(), uuid4()
    async with in_memory(others={"audit": audit(notes)}) as store:
        payment = await (await store.sign_up()).paid()
        [created] = await store.published(PaymentCreated)
        for _ in range(2):
            await store.publish(created, event_id=event_id)
        await store.settled()
        assert notes.payments == [payment["id"]] * 2
        store.clock.advance(minutes=3)
        await store.publish(created, event_id=event_id)
        await store.settled()
    assert notes.payments == [payment["id"]] * 3


async def test_messages_wait_for_a_service_that_is_away(store: MemoryStore) -> None:
    ada = await store.sign_up()
    with store.away("payments"):
        payment = (await ada.pay()).json()
        assert (await ada.get(f"/payments/{payment['id']}")).status_code == 503
        await store.settled()
        assert await store.consumed(PAYMENTS_CREATE_PAYMENTS, 0) == []
    assert (await ada.recorded(payment["id"]))["status"] == "created"


async def test_held_service_replies_but_consumes_nothing(store: MemoryStore) -> None:
    ada = await store.sign_up()
    with store.held("payments"):
        payment = (await ada.pay("a key")).json()
        assert (await ada.get(f"/payments/{payment['id']}")).json()["status"] == "pending"
    assert (await ada.recorded(payment["id"]))["status"] == "created"


async def test_missing_consumption_fails_with_what_was_delivered(store: MemoryStore) -> None:
    await store.sign_up()
    await store.settled()
    assert len(await store.consumed(UserCreated)) == 1
    with pytest.raises(AssertionError) as failed:
        await store.consumed(UserDeleted, timeout=0)
    text = str(failed.value)
    assert "expected at least 1 of UserDeleted, found 0" in text
    assert "Delivered: payments-open_payer user.created handled (attempts: 1)" in text
