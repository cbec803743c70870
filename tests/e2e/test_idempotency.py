"""One key makes one payment: at once, on two gateways, around crashes, and while the payments service is away."""

import asyncio
import uuid
from typing import Any

import httpx
import pytest

from tests.support.http_client import Caller, assert_problem, calling, say, sign_up
from tests.support.polling import eventually
from tests.support.recovery import wait_until_replaced
from tests.support.running_store import Running
from tests.support.store_audit import event_ids, recorded, wait_until_settled

AT_ONCE = 200


@pytest.fixture(params=["one process", "two workers"])
def either(request: pytest.FixtureRequest) -> Running:
    """Return a store with one process of every service, and one with two."""
    chosen: Running = request.getfixturevalue("store" if request.param == "one process" else "two_workers")
    return chosen


async def _one_payment(mkstore: Running, ada: Caller) -> str:
    """Return the id of the one payment that somebody has; fail unless it is one, with one event."""
    await wait_until_settled(mkstore)
    found = await recorded(mkstore, [ada.id])
    assert len(found) == 1, found
    payment = str(found[0]["id"])
    assert len((await event_ids(mkstore, "PAYMENT_EVENTS"))[payment]) == 1
    return payment


@pytest.mark.parametrize("wait", [None, 10])
async def test_many_at_once_with_one_key_make_one_payment(either: Running, wait: int | None) -> None:
    async with calling(either, patience=60) as http:
        ada, key = await sign_up(http), uuid.uuid4().hex
        answers = await asyncio.gather(*(ada.pay(key=key, wait=wait) for _ in range(AT_ONCE)))
        assert {answer.status_code for answer in answers} == {201 if wait else 202}, {a.text for a in answers}
        assert len({answer.content for answer in answers}) == 1
        replayed = [answer for answer in answers if answer.headers.get("Idempotent-Replayed") == "true"]
        assert len(replayed) == AT_ONCE - 1
        assert await _one_payment(either, ada) == answers[0].json()["id"]
        slowest = max(answer.elapsed.total_seconds() for answer in answers)
        say(f"{AT_ONCE} at once with one key{f' and wait={wait}' if wait else ''}: slowest {slowest:.1f} s")


async def test_many_at_once_with_one_key_and_two_bodies_make_one_of_them(either: Running) -> None:
    async with calling(either, patience=60) as http:
        ada, key = await sign_up(http), uuid.uuid4().hex
        answers = await asyncio.gather(*(ada.pay(1 + number % 2, key=key) for number in range(40)))
        accepted = [answer for answer in answers if answer.status_code == 202]
        assert len({answer.content for answer in accepted}) == 1
        assert len(accepted) == 20
        for answer in answers:
            if answer not in accepted:
                assert_problem(answer, 422, "idempotency-key-reused")
        assert await _one_payment(either, ada) == accepted[0].json()["id"]


async def test_a_key_with_another_body_is_refused_with_and_without_a_wait(http: httpx.AsyncClient) -> None:
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
    shuffled = {"metadata": {"a": "1", "b": "2"}, "amount": 10, "currency": "EUR", "userId": ada.id}
    again = await ada("POST", "/payments", json=shuffled, headers=headers)
    assert (again.status_code, again.content) == (202, first.content), "the same payment in other words"


async def test_a_key_is_taken_once_while_the_payments_service_is_away(battered: Running) -> None:
    async with calling(battered) as http:
        ada, key = await sign_up(http), uuid.uuid4().hex
        with battered.hung("payments"):
            answers = [await ada.pay(key=key) for _ in range(2)]
            answers += await asyncio.gather(*(ada.pay(key=key) for _ in range(20)))
            assert {answer.status_code for answer in answers} == {202}, {answer.text for answer in answers}
            assert len({answer.content for answer in answers}) == 1
            assert [answer.headers.get("Idempotent-Replayed") for answer in answers] == [None] + ["true"] * 21
            assert_problem(await ada.pay(5, key=key), 422, "idempotency-key-reused")
            pending = await ada.pay(key=key, wait=1)
            assert (pending.status_code, pending.json()["status"]) == (202, "pending")
            waiting = asyncio.create_task(ada.pay(key=key, wait=20))
            unkeyed = await ada.pay(7)
            assert unkeyed.status_code == 202, unkeyed.text
            slowest = max(answer.elapsed.total_seconds() for answer in answers)
        recorded_payment = await waiting
        assert (recorded_payment.status_code, recorded_payment.json()["status"]) == (201, "created")
        after = await ada.pay(key=key)
        assert (after.status_code, after.content) == (202, answers[0].content)
        await wait_until_settled(battered)
        found = {row["id"] for row in await recorded(battered, [ada.id])}
        assert found == {answers[0].json()["id"], unkeyed.json()["id"]}
        say(f"payments held down: slowest of 22 answers with one key {slowest:.1f} s")


@pytest.mark.parametrize("name", ["payments", "gateway"])
async def test_a_key_that_is_repeated_around_a_crash_makes_one_payment(battered: Running, name: str) -> None:
    async with calling(battered) as http:
        ada, key = await sign_up(http), uuid.uuid4().hex
        first = await ada.pay(key=key)
        assert first.status_code == 202, first.text
        pid = battered.record[name]["pid"]
        battered.kill_part(name)
        refused: set[str] = set()

        async def again() -> bool:
            try:
                answer = await ada.pay(key=key)
            except httpx.TransportError as error:
                refused.add(type(error).__name__)
                return False
            if answer.status_code == 202:
                assert answer.content == first.content
                assert answer.headers["Idempotent-Replayed"] == "true"
                return battered.record[name]["pid"] not in {pid, None}
            assert answer.status_code in {503, 504}, answer.text
            assert_problem(answer)
            refused.add(str(answer.status_code))
            return False

        await eventually(again, within=60)
        await wait_until_replaced(battered, name, pid)
        waited = await ada.pay(key=key, wait=20)
        assert (waited.status_code, waited.json()["id"]) == (201, first.json()["id"]), waited.text
        assert await _one_payment(battered, ada) == first.json()["id"]
        say(f"one key around kill -9 {name}: refused meanwhile with {sorted(refused) or 'nothing'}")
