"""Idempotency-Key: the same order is one payment and one answer, and another order under the same key is none."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from apps.gateway.payments.ids import payment_id
from tests.support.payments_harness import LIMIT as PAYMENT_LIMIT
from tests.support.store import Store, new_key

pytestmark = pytest.mark.asyncio(loop_scope="module")


def problem(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


async def test_the_same_order_is_answered_the_same_to_the_byte_while_it_waits_and_when_it_is_recorded(
    store: Store,
) -> None:
    ada, key = await store.sign_up(), new_key()
    body = {"currency": "EUR", "metadata": {"order": "Ä-1", "a": "1"}}
    async with store.outages.held():
        first = await ada.pay(key, **body)
        assert (first.status_code, first.json()["status"]) == (202, "pending")
        assert UUID(first.json()["id"]) == payment_id(UUID(ada.id), key)
        assert "idempotent-replayed" not in first.headers
        while_it_waits = await ada.pay(key, **body)
    await ada.recorded(first.json()["id"])
    recorded = await ada.pay(key, **body)
    for again in (while_it_waits, recorded):
        assert (again.status_code, again.content) == (202, first.content)
        assert again.headers["location"] == first.headers["location"]
        assert again.headers["idempotent-replayed"] == "true"
    assert len((await ada.get("/payments")).json()["data"]) == 1


async def test_a_rejected_one_is_answered_as_it_was_first(store: Store) -> None:
    ada, key = await store.sign_up(), new_key()
    first = await ada.pay(key, amount=PAYMENT_LIMIT + 1)
    assert (await ada.recorded(first.json()["id"]))["status"] == "rejected"
    assert (await ada.pay(key, amount=PAYMENT_LIMIT + 1)).content == first.content


async def test_who_prefers_to_wait_gets_its_present_state(store: Store) -> None:
    ada, key = await store.sign_up(), new_key()
    first = await ada.paid(key)
    again = await ada.pay(key, "wait=30")
    assert (again.status_code, again.json()) == (201, first)
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["preference-applied"] == "wait=30"


async def test_the_same_order_in_another_spelling_is_the_same(store: Store) -> None:
    ada, key = await store.sign_up(), new_key()
    first = await ada.pay(key, metadata={"a": "1", "b": "2"})
    for body in (
        {"metadata": {"b": "2", "a": "1"}},
        {"metadata": {"a": "1", "b": "2"}, "currency": "USD", "userId": ada.id.upper()},
    ):
        again = await ada.pay(key, **body)
        assert (again.status_code, again.content) == (202, first.content)


@pytest.mark.parametrize(
    "other",
    [{"amount": 2000}, {"currency": "EUR"}, {"metadata": {"a": "2"}}, {"metadata": {}}, {"metadata": {"b": ""}}],
)
@pytest.mark.parametrize("recorded", [True, False])
async def test_another_order_under_the_same_key_is_refused(
    store: Store, other: dict[str, Any], *, recorded: bool
) -> None:
    ada, key = await store.somebody(), new_key()
    body = {"amount": 1999, "metadata": {"a": "1"}}
    if recorded:
        await ada.paid(key, **body)
        answer = await ada.pay(key, **(body | other))
    else:
        async with store.outages.held():
            await ada.pay(key, **body)
            answer = await ada.pay(key, **(body | other))
    assert problem(answer) == (422, "idempotency-key-reused")


async def test_another_callers_key_is_another_key(store: Store) -> None:
    ada, bob, key = await store.sign_up(), await store.sign_up(), new_key()
    hers, his = await ada.pay(key), await bob.pay(key, amount=7)
    assert (hers.status_code, his.status_code) == (202, 202)
    assert hers.json()["id"] != his.json()["id"]
    assert "idempotent-replayed" not in his.headers


async def test_another_payer_is_another_order(store: Store) -> None:
    admin, ada, key = await store.admin(), await store.sign_up(), new_key()
    first = await admin.pay(key, userId=ada.id)
    assert first.status_code == 202
    assert problem(await admin.pay(key)) == (422, "idempotency-key-reused")
    await ada.ask("DELETE", f"/users/{ada.id}")
    again = await admin.pay(key, userId=ada.id)
    assert (again.status_code, again.content) == (202, first.content)  # though nobody could pay for her any more


async def test_many_at_once_make_one_payment_and_one_answer(store: Store) -> None:
    ada, key = await store.sign_up(), new_key()
    answers = await asyncio.gather(*(ada.pay(key) for _ in range(20)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len([answer for answer in answers if "idempotent-replayed" not in answer.headers]) == 1
    assert {answer.content for answer in answers} == {answers[0].content}
    await ada.recorded(answers[0].json()["id"])
    assert len((await ada.get("/payments")).json()["data"]) == 1


async def test_of_different_orders_at_once_one_is_made_and_the_others_are_refused(store: Store) -> None:
    ada, key = await store.sign_up(), new_key()
    answers = await asyncio.gather(*(ada.pay(key, amount=amount) for amount in range(1, 11)))
    accepted = [answer for answer in answers if answer.status_code == 202]
    assert len(accepted) == 1
    assert {problem(answer) for answer in answers if answer not in accepted} == {(422, "idempotency-key-reused")}
    payment = await ada.recorded(accepted[0].json()["id"])
    assert payment == accepted[0].json() | {"status": "created"}


async def test_without_a_key_each_is_a_payment(store: Store) -> None:
    ada = await store.sign_up()
    one, other = await ada.paid(), await ada.paid()
    assert one["id"] != other["id"]


@pytest.mark.parametrize("key", [" !~ key with signs: ,;\"'", "x" * 255])
async def test_a_key_may_be_any_printable_characters(store: Store, key: str) -> None:
    ada = await store.somebody()
    first, again = await ada.pay(key), await ada.pay(key)
    assert (first.status_code, again.content) == (202, first.content)


@pytest.mark.parametrize("key", [b"", b"x" * 256, "schlüssel".encode(), b"a\tb"])
async def test_what_is_no_key_is_pointed_to(store: Store, key: bytes) -> None:
    ada = await store.somebody()
    headers = {b"Authorization": f"Bearer {ada.token}".encode(), b"Idempotency-Key": key}
    answer = await store.http.post("/payments", headers=headers, json={"amount": 1})
    assert problem(answer) == (422, "invalid-request")
    assert [error["pointer"] for error in answer.json()["errors"]] == ["/header/idempotency-key"]


async def test_while_payments_is_away_an_order_is_accepted_once_and_made_once_when_it_is_back(store: Store) -> None:
    ada, key, unknown = await store.sign_up(), new_key(), str(uuid4())
    async with store.outages.away("payments"):
        first = await ada.pay(key)
        assert (first.status_code, first.json()["status"]) == (202, "pending")
        again = await ada.pay(key)
        assert (again.status_code, again.content) == (202, first.content)
        assert again.headers["idempotent-replayed"] == "true"
        assert problem(await ada.pay(key, amount=7)) == (422, "idempotency-key-reused")
        assert (await ada.pay()).status_code == 202
        assert problem(await ada.get(f"/payments/{unknown}")) == (503, "service-unavailable")
    assert await ada.recorded(first.json()["id"]) == first.json() | {"status": "created"}
    assert (await ada.pay(key)).content == first.content
