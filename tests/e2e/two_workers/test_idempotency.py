"""One idempotency key makes one payment when many requests arrive at once at two gateway processes."""

import asyncio
import uuid

import pytest

from tests.support.http_client import assert_problem, calling, sign_up
from tests.support.running_store import Running
from tests.support.store_audit import only_payment

CONCURRENT = 200


@pytest.mark.parametrize("wait", [None, 10])
async def test_concurrent_requests_with_one_key_make_one_payment(two_worker_store: Running, wait: int | None) -> None:
    async with calling(two_worker_store, request_timeout=60) as http:
        ada, key = await sign_up(http), uuid.uuid4().hex
        answers = await asyncio.gather(*(ada.pay(key=key, wait=wait) for _ in range(CONCURRENT)))
        assert {answer.status_code for answer in answers} == {201 if wait else 202}, {a.text for a in answers}
        assert len({answer.content for answer in answers}) == 1
        replayed = [answer for answer in answers if answer.headers.get("Idempotent-Replayed") == "true"]
        assert len(replayed) == CONCURRENT - 1
        assert await only_payment(two_worker_store, ada) == answers[0].json()["id"]


async def test_concurrent_requests_with_two_bodies_make_one_payment(two_worker_store: Running) -> None:
    async with calling(two_worker_store, request_timeout=60) as http:
        ada, key = await sign_up(http), uuid.uuid4().hex
        answers = await asyncio.gather(*(ada.pay(1 + number % 2, key=key) for number in range(40)))
        accepted = [answer for answer in answers if answer.status_code == 202]
        assert len({answer.content for answer in accepted}) == 1
        assert len(accepted) == 20
        for answer in answers:
            if answer not in accepted:
                assert_problem(answer, 422, "idempotency-key-reused")
        assert await only_payment(two_worker_store, ada) == accepted[0].json()["id"]
