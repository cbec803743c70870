"""What a store in memory has given up, by the rules of production."""

import pytest

from contracts.consumers import PAYMENTS_CREATE_PAYMENT, PAYMENTS_CREATE_PAYMENTS, PAYMENTS_OPEN_PAYER
from contracts.headers import DEAD_ATTEMPTS, REQUEST_ID
from contracts.payments import CreatePayment, PaymentCreated
from kit.errors import NonRetryable
from mkstore.testing import MemoryStore, in_memory
from mkstore.testing.fakes.payments import REFUSED_AMOUNT
from tests.support.audit_service import AUDIT, Notes, audit


async def test_payment_that_the_database_refuses_is_dead_lettered(store: MemoryStore) -> None:
    ada = await store.sign_up()
    response = await ada.pay("a key", None, amount=REFUSED_AMOUNT)
    [letter] = await store.dead_lettered(PAYMENTS_CREATE_PAYMENT)
    assert letter.reason == "RefusedByDatabase"
    assert letter.subject == f"payments.create.key.{response.json()['id']}"
    assert letter.headers[REQUEST_ID] == response.headers["x-request-id"]
    [consumed] = await store.consumed(PAYMENTS_CREATE_PAYMENT)
    assert (consumed.outcome, consumed.attempts, consumed.dead_letters) == ("dead-lettered", 1, (letter,))
    assert (await ada.get(f"/payments/{response.json()['id']}")).json()["status"] == "pending"  # it may be replayed


async def test_failed_command_of_a_batch_is_dead_lettered_alone(store: MemoryStore) -> None:
    ada = await store.sign_up()
    payment = (await ada.pay(amount=REFUSED_AMOUNT)).json()
    [letter] = await store.dead_lettered(PAYMENTS_CREATE_PAYMENTS)
    assert CreatePayment.model_validate_json(letter.body).id.hex == payment["id"].replace("-", "")


async def test_message_that_keeps_failing_is_given_up_after_ten_attempts() -> None:
    notes = Notes(*[RuntimeError("a defect")] * 10)
    async with in_memory(others={"audit": audit(notes)}) as store:
        await (await store.sign_up()).paid()
        [letter] = await store.dead_lettered(AUDIT)
        [consumed] = await store.consumed(AUDIT)
    assert (letter.reason, letter.headers[DEAD_ATTEMPTS]) == ("RuntimeError", "10")
    assert (consumed.outcome, consumed.attempts, notes.payments) == ("dead-lettered", 10, [])


async def test_attempts_follow_the_settings() -> None:
    async with in_memory(settings={"payments": {"delivery_attempts": 3}}) as store:
        ada = await store.sign_up()
        await store.consumed(PAYMENTS_OPEN_PAYER)
        store.services["payments"].data.failure = RuntimeError("a defect")
        await ada.pay()
        [letter] = await store.dead_lettered(CreatePayment, reason="RuntimeError")
    assert letter.headers[DEAD_ATTEMPTS] == "3"


async def test_permanent_error_is_not_retried() -> None:
    async with in_memory(others={"audit": audit(Notes(NonRetryable("never")))}) as store:
        await (await store.sign_up()).paid()
        await store.dead_lettered(AUDIT, reason="NonRetryable")
        [consumed] = await store.consumed(AUDIT)
    assert consumed.attempts == 1


async def test_invalid_message_is_dead_lettered(store: MemoryStore) -> None:
    await store.publish_raw("user.created", b"{}")
    [letter] = await store.dead_lettered(PAYMENTS_OPEN_PAYER, reason="ValidationError")
    assert (letter.subject, letter.body, letter.stream) == ("user.created", b"{}", "USER_EVENTS")
    [consumed] = await store.consumed(PAYMENTS_OPEN_PAYER)
    assert consumed.message is None


async def test_missing_dead_letter_fails_with_those_that_exist(store: MemoryStore) -> None:
    await (await store.sign_up()).pay(amount=REFUSED_AMOUNT)
    await store.dead_lettered(CreatePayment)
    with pytest.raises(AssertionError) as failed:
        await store.dead_lettered(CreatePayment, reason="ValidationError", timeout=0)
    text = str(failed.value)
    assert "expected at least 1 of CreatePayment (ValidationError), found 0" in text
    assert "of payments-create_payments: RefusedByDatabase" in text


async def test_handled_message_leaves_no_dead_letter(store: MemoryStore) -> None:
    await (await store.sign_up()).paid()
    await store.settled()
    assert await store.dead_lettered(PaymentCreated, 0) == []
    with pytest.raises(AssertionError, match="Dead-lettered: nothing"):
        await store.dead_lettered(PaymentCreated, timeout=0)
