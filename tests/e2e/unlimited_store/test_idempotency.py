"""One idempotency key makes one payment around crashes and while the payments service is unavailable."""

import asyncio
import uuid

import httpx
import pytest

from tests.support.http_client import assert_problem, calling, say, sign_up
from tests.support.polling import eventually
from tests.support.running_store import Running
from tests.support.stored_data import only_payment, recorded_ids, wait_until_idle


async def test_key_makes_one_payment_while_payments_service_hangs(unlimited_store: Running) -> None:
    async with calling(unlimited_store) as http:
        ada, key, recorded = await sign_up(http), uuid.uuid4().hex, uuid.uuid4().hex
        first = await ada.pay(11, key=recorded)
        assert (await ada.pay(11, key=recorded, wait=20)).status_code == 201
        with unlimited_store.hung("payments"):
            again = await ada.pay(11, key=recorded)
            assert (again.status_code, again.content) == (202, first.content)
            assert again.headers["Idempotent-Replayed"] == "true"
            assert_problem(await ada.pay(999, key=recorded), 422, "idempotency-key-reused")
            answers = [await ada.pay(key=key) for _ in range(2)]
            answers += await asyncio.gather(*(ada.pay(key=key) for _ in range(20)))
            assert {answer.status_code for answer in answers} == {202}, {answer.text for answer in answers}
            assert len({answer.content for answer in answers}) == 1
            assert [answer.headers.get("Idempotent-Replayed") for answer in answers] == [None] + ["true"] * 21
            assert_problem(await ada.pay(5, key=key), 422, "idempotency-key-reused")
            pending = await ada.pay(key=key, wait=1)
            assert (pending.status_code, pending.json()["status"]) == (202, "pending")
            waiting = asyncio.create_task(ada.pay(key=key, wait=20))
            without_key = await ada.pay(7)
            assert without_key.status_code == 202, without_key.text
        waited = await waiting
        assert (waited.status_code, waited.json()["status"]) == (201, "created")
        after = await ada.pay(key=key)
        assert (after.status_code, after.content) == (202, answers[0].content)
        await wait_until_idle(unlimited_store)
        ids = await recorded_ids(unlimited_store, ada.id)
        assert sorted(ids) == sorted(answer.json()["id"] for answer in (first, answers[0], without_key))


@pytest.mark.parametrize("name", ["payments", "gateway"])
async def test_key_repeated_around_a_crash_makes_one_payment(unlimited_store: Running, name: str) -> None:
    async with calling(unlimited_store) as http:
        ada, key = await sign_up(http), uuid.uuid4().hex
        first = await ada.pay(key=key)
        assert first.status_code == 202, first.text
        pid = unlimited_store.record[name]["pid"]
        unlimited_store.kill(name)
        refusals: set[str] = set()

        async def is_replayed_by_successor() -> bool:
            try:
                answer = await ada.pay(key=key)
            except httpx.TransportError as error:
                refusals.add(type(error).__name__)
                return False
            if answer.status_code == 202:
                assert answer.content == first.content
                assert answer.headers["Idempotent-Replayed"] == "true"
                return unlimited_store.record[name]["pid"] not in {pid, None}
            assert answer.status_code in {503, 504}, answer.text
            assert_problem(answer)
            refusals.add(str(answer.status_code))
            return False

        await eventually(is_replayed_by_successor)
        await unlimited_store.wait_until_recovered()
        waited = await ada.pay(key=key, wait=20)
        assert (waited.status_code, waited.json()["id"]) == (201, first.json()["id"]), waited.text
        assert await only_payment(unlimited_store, ada) == first.json()["id"]
        say(f"one key around kill -9 {name}: refused meanwhile with {sorted(refusals) or 'nothing'}")
