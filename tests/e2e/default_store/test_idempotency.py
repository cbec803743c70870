"""One idempotency key makes one payment, also when many requests arrive at once at two gateway processes."""

import asyncio
import uuid
from typing import Any

import httpx
import pytest

from tests.support.http_client import assert_problem, sign_up
from tests.support.running_store import Running
from tests.support.stored_data import only_payment

CONCURRENT = 200


@pytest.mark.parametrize("wait", [None, 10])
async def test_concurrent_requests_with_one_key_make_one_payment(
    store: Running, http: httpx.AsyncClient, wait: int | None
) -> None:
    ada, key = await sign_up(http), uuid.uuid4().hex
    answers = await asyncio.gather(*(ada.pay(key=key, wait=wait) for _ in range(CONCURRENT)))
    assert {answer.status_code for answer in answers} == {201 if wait else 202}, {a.text for a in answers}
    assert len({answer.content for answer in answers}) == 1
    replayed = [answer for answer in answers if answer.headers.get("Idempotent-Replayed") == "true"]
    assert len(replayed) == CONCURRENT - 1
    assert await only_payment(store, ada) == answers[0].json()["id"]


@pytest.mark.parametrize("wait", [None, 10])
async def test_concurrent_requests_with_two_bodies_make_one_payment(
    store: Running, http: httpx.AsyncClient, wait: int | None
) -> None:
    ada, key = await sign_up(http), uuid.uuid4().hex
    answers = await asyncio.gather(*(ada.pay(1 + number % 2, key=key, wait=wait) for number in range(40)))
    accepted = [answer for answer in answers if answer.status_code == (201 if wait else 202)]
    assert (len(accepted), len({answer.content for answer in accepted})) == (20, 1)
    for answer in answers:
        if answer not in accepted:
            assert_problem(answer, 422, "idempotency-key-reused")
    assert await only_payment(store, ada) == accepted[0].json()["id"]


async def test_key_with_another_body_is_refused_with_and_without_wait(http: httpx.AsyncClient) -> None:
    ada, key = await sign_up(http), uuid.uuid4().hex
    body = {"amount": 10, "currency": "EUR", "metadata": {"b": "2", "a": "1"}}
    headers = {"Idempotency-Key": key}
    first = await ada("POST", "/payments", json=body, headers=headers)
    assert first.status_code == 202, first.text
    others: list[dict[str, Any]] = [{"amount": 11}, {"currency": "USD"}, {"metadata": {}}, {"metadata": {"a": "1"}}]
    for other in others:
        for prefer in ({}, {"Prefer": "wait=10"}):
            answer = await ada("POST", "/payments", json=body | other, headers=headers | prefer)
            assert_problem(answer, 422, "idempotency-key-reused")
    reordered = {"metadata": {"a": "1", "b": "2"}, "amount": 10, "currency": "EUR", "userId": ada.id}
    again = await ada("POST", "/payments", json=reordered, headers=headers)
    assert (again.status_code, again.content) == (202, first.content), "the same payment, written differently"
