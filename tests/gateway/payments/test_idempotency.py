"""Idempotency-Key: a repeated order is one payment and one response, another order is refused."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from apps.gateway.payments.ids import payment_id
from tests.support.payments_harness import LIMIT as PAYMENT_LIMIT
from tests.support.store import Store, new_key
from tests.support.users_harness import CONFIRMED

pytestmark = pytest.mark.asyncio(loop_scope="module")


def problem(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


async def test_repeated_order_gets_the_first_response_byte_for_byte(
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


async def test_rejected_payment_repeats_its_first_response(store: Store) -> None:
    ada, key = await store.sign_up(), new_key()
    first = await ada.pay(key, amount=PAYMENT_LIMIT + 1)
    assert (await ada.recorded(first.json()["id"]))["status"] == "rejected"
    assert (await ada.pay(key, amount=PAYMENT_LIMIT + 1)).content == first.content


async def test_repetition_with_wait_gets_the_current_state(store: Store) -> None:
    ada, key = await store.sign_up(), new_key()
    first = await ada.paid(key)
    again = await ada.pay(key, "wait=30")
    assert (again.status_code, again.json()) == (201, first)
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["preference-applied"] == "wait=30"


async def test_equivalent_bodies_are_the_same_order(store: Store) -> None:
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
async def test_other_order_with_the_same_key_is_refused(store: Store, other: dict[str, Any], *, recorded: bool) -> None:
    ada, key = await store.somebody(), new_key()
    body = {"amount": 1999, "metadata": {"a": "1"}}
    if recorded:
        await ada.paid(key, **body)
        response = await ada.pay(key, **(body | other))
    else:
        async with store.outages.held():
            await ada.pay(key, **body)
            response = await ada.pay(key, **(body | other))
    assert problem(response) == (422, "idempotency-key-reused")


async def test_keys_count_per_caller(store: Store) -> None:
    ada, bob, key = await store.sign_up(), await store.sign_up(), new_key()
    hers, his = await ada.pay(key), await bob.pay(key, amount=7)
    assert (hers.status_code, his.status_code) == (202, 202)
    assert hers.json()["id"] != his.json()["id"]
    assert "idempotent-replayed" not in his.headers


async def test_other_payer_is_another_order(store: Store) -> None:
    admin, ada, key = await store.admin(), await store.sign_up(), new_key()
    first = await admin.pay(key, userId=ada.id)
    assert first.status_code == 202
    assert problem(await admin.pay(key)) == (422, "idempotency-key-reused")
    await ada.request("DELETE", f"/users/{ada.id}", json=CONFIRMED)
    again = await admin.pay(key, userId=ada.id)
    assert (again.status_code, again.content) == (202, first.content)  # although the payer is deleted


async def test_concurrent_repetitions_create_one_payment(store: Store) -> None:
    ada, key = await store.sign_up(), new_key()
    responses = await asyncio.gather(*(ada.pay(key) for _ in range(20)))
    assert {response.status_code for response in responses} == {202}
    assert len({response.json()["id"] for response in responses}) == 1
    assert len([response for response in responses if "idempotent-replayed" not in response.headers]) == 1
    assert {response.content for response in responses} == {responses[0].content}
    await ada.recorded(responses[0].json()["id"])
    assert len((await ada.get("/payments")).json()["data"]) == 1


async def test_concurrent_different_orders_create_one_payment(store: Store) -> None:
    ada, key = await store.sign_up(), new_key()
    responses = await asyncio.gather(*(ada.pay(key, amount=amount) for amount in range(1, 11)))
    accepted = [response for response in responses if response.status_code == 202]
    assert len(accepted) == 1
    assert {problem(response) for response in responses if response not in accepted} == {
        (422, "idempotency-key-reused")
    }
    payment = await ada.recorded(accepted[0].json()["id"])
    assert payment == accepted[0].json() | {"status": "created"}


async def test_requests_without_key_are_separate_payments(store: Store) -> None:
    ada = await store.sign_up()
    one, other = await ada.paid(), await ada.paid()
    assert one["id"] != other["id"]


@pytest.mark.parametrize("key", [" !~ key with signs: ,;\"'", "x" * 255])
async def test_any_printable_key_is_valid(store: Store, key: str) -> None:
    ada = await store.somebody()
    first, again = await ada.pay(key), await ada.pay(key)
    assert (first.status_code, again.content) == (202, first.content)


@pytest.mark.parametrize("key", [b"", b"x" * 256, "schlüssel".encode(), b"a\tb"])
async def test_invalid_key_is_named(store: Store, key: bytes) -> None:
    ada = await store.somebody()
    headers = {b"Authorization": f"Bearer {ada.token}".encode(), b"Idempotency-Key": key}
    response = await store.http.post("/payments", headers=headers, json={"amount": 1})
    assert problem(response) == (422, "invalid-request")
    assert [error["pointer"] for error in response.json()["errors"]] == ["/header/idempotency-key"]


async def test_order_is_recorded_once_after_an_outage(store: Store) -> None:
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
