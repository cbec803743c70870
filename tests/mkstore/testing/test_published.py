"""What a store in memory has published, and how a missing event is reported."""

import pytest

from contracts.payments import CreatePayment, CreatePayments, PaymentCreated
from contracts.revocations import SessionRevocation
from contracts.users import UserCreated, UserDeleted
from mkstore.testing import PASSWORD, MemoryStore, in_memory, new_email


async def test_payment_publishes_an_event(store: MemoryStore) -> None:
    payment = await (await store.sign_up()).paid()
    [created] = await store.published(PaymentCreated)
    assert str(created.payment.id) == payment["id"]


async def test_events_are_waited_for(store: MemoryStore) -> None:
    ada = await store.sign_up()
    for _ in range(3):
        await ada.pay()  # 202: none of them is recorded yet
    assert len(await store.published(PaymentCreated, 3)) == 3


async def test_events_of_one_user_can_be_chosen(store: MemoryStore) -> None:
    ada, _ = await store.sign_up(), await store.sign_up()
    [created] = await store.published(UserCreated, aggregate_id=ada.id)
    assert str(created.user.id) == ada.id


async def test_commands_and_states_are_published_too(store: MemoryStore) -> None:
    ada = await store.sign_up()
    await ada.pay()
    await ada.pay("a key")
    await ada.request("DELETE", "/auth/sessions/current")
    [batch] = await store.published(CreatePayments)
    [keyed] = await store.published(CreatePayment)
    [revocation] = await store.published(SessionRevocation)
    assert {str(command.user_id) for command in (batch.items[0].command, keyed, revocation)} == {ada.id}


async def test_missing_event_fails_with_what_was_published(store: MemoryStore) -> None:
    await store.sign_up()
    await store.settled()
    with pytest.raises(AssertionError) as failed:
        await store.published(UserDeleted, timeout=0)
    text = str(failed.value)
    assert "expected at least 1 of UserDeleted, found 0" in text
    assert "Published: " in text
    assert "user.created" in text


async def test_too_few_events_fail_with_their_number(store: MemoryStore) -> None:
    for _ in range(2):
        await store.sign_up()
    await store.settled()
    with pytest.raises(AssertionError, match=r"(?s)at least 3 of UserCreated, found 2\..* user\.created, 2 times"):
        await store.published(UserCreated, 3, timeout=0)


async def test_nothing_published_is_reported_as_nothing() -> None:
    async with in_memory(services=["payments"]) as store:
        with pytest.raises(AssertionError, match="Published: nothing"):
            await store.published(PaymentCreated, timeout=0)


async def test_refused_request_publishes_nothing(store: MemoryStore) -> None:
    body = {"email": new_email(), "password": PASSWORD}
    assert (await store.http.post("/users", json=body)).status_code == 201
    assert (await store.http.post("/users", json=body)).status_code == 409
    await store.settled()
    assert len(await store.published(UserCreated)) == 1
