"""A running store with two shards of payments."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest

from contracts.shards import Shard, Shards
from tests.support.event_source import listening
from tests.support.http_client import Caller, assert_problem, calling, operator, sign_up, sign_up_admin
from tests.support.polling import eventually
from tests.support.running_store import Running, running

TWO = Shards(2)


@pytest.fixture(scope="module")
def sharded() -> Iterator[Running]:
    """Run a store with two shards; it fails if NATS refuses a subject to a service."""
    settings = {"RATE_LIMIT_ENABLED": "false"}
    with running("--ephemeral", "--port", "0", "--workers", "1", "--shards", "2", env=settings) as store:
        yield store


@pytest.fixture
async def client(sharded: Running) -> AsyncIterator[httpx.AsyncClient]:
    async with calling(sharded) as http:
        yield http


async def callers(http: httpx.AsyncClient) -> list[Caller]:
    """Return a new user of each shard."""
    found: dict[Shard, Caller] = {}
    while len(found) < TWO.count:
        user = await sign_up(http)
        found[TWO.of_user(uuid.UUID(user.id))] = user
    return [found[shard] for shard in TWO.all]


async def rows(store: Running, shard: Shard) -> set[str]:
    """Return the ids of the payments in the database of a shard."""
    async with store.database(f"payments_{shard.name}_db") as connection:
        return {str(row["id"]) for row in await connection.fetch("SELECT id FROM payments")}


async def listed(caller: Caller, **params: str | int) -> list[str]:
    answer = await caller("GET", "/payments", params=params)
    assert answer.status_code == 200, answer.text
    return [payment["id"] for payment in answer.json()["data"]]


async def test_payments_are_recorded_by_the_shard_of_their_caller(sharded: Running, client: httpx.AsyncClient) -> None:
    for shard, other, caller in zip(TWO.all, TWO.all[::-1], await callers(client), strict=True):
        ids = [(await caller.paid(key=key))["id"] for key in (None, "one", "two", None)]
        assert set(ids) <= await rows(sharded, shard)
        assert not set(ids) & await rows(sharded, other)
        assert await listed(caller) == ids[::-1]
        assert [(await caller("GET", f"/payments/{each}")).json()["status"] for each in ids] == ["created"] * 4


async def test_concurrent_requests_with_one_key_make_one_payment(client: httpx.AsyncClient) -> None:
    for caller in await callers(client):
        answers = await asyncio.gather(*(caller.pay(key="one", wait=20) for _ in range(50)))
        assert {answer.status_code for answer in answers} == {201}
        assert len({answer.content for answer in answers}) == 1
        assert_problem(await caller.pay(5, key="one"), 422, "idempotency-key-reused")
        assert len(await listed(caller)) == 1


async def test_payment_by_an_admin_is_copied_to_the_shard_of_its_payer(
    sharded: Running, client: httpx.AsyncClient
) -> None:
    admin = await sign_up_admin(client, sharded)
    for payer in await callers(client):
        payment = await paid_for(payer, admin)
        await eventually(partial(is_listed, payer, payment))
        assert (await payer("GET", f"/payments/{payment}")).json()["status"] == "created"
        assert payment in await rows(sharded, TWO.of_user(uuid.UUID(payer.id)))
        assert payment in await rows(sharded, TWO.of_user(uuid.UUID(admin.id)))


async def paid_for(payer: Caller, admin: Caller) -> str:
    """Pay for another user twice with one key; return the id of the one payment, once its payer has got the event."""
    body, headers = {"amount": 7, "userId": payer.id}, {"Idempotency-Key": payer.id}
    async with listening(payer) as source:
        first, again = [await admin("POST", "/payments", json=body, headers=headers) for _ in range(2)]
        assert (first.status_code, again.content) == (202, first.content)
        await eventually(lambda: source.payments() == [first.json()["id"]], describe=lambda: str(source.events))
    return str(first.json()["id"])


async def is_listed(payer: Caller, payment: str) -> bool:
    """Return whether a payment is the only one in the payer's list."""
    return await listed(payer) == [payment]


async def test_admin_lists_the_payments_of_all_shards(sharded: Running, client: httpx.AsyncClient) -> None:
    admin = await sign_up_admin(client, sharded)
    ids = [(await caller.paid())["id"] for caller in await callers(client) for _ in range(3)]
    assert (await listed(admin, limit=6))[: len(ids)] == ids[::-1]
    first = (await admin("GET", "/payments", params={"limit": 4})).json()
    rest = await listed(admin, limit=2, cursor=first["nextCursor"])
    assert [payment["id"] for payment in first["data"]] + rest == ids[::-1]


async def test_event_stream_resumes_in_every_shard(client: httpx.AsyncClient) -> None:
    for caller in await callers(client):
        async with listening(caller) as source:
            ids = [(await caller.paid())["id"] for _ in range(2)]
            await eventually(lambda: len(source.events) == 2, describe=lambda: str(source.events))
        assert source.payments() == ids
        ids += [(await caller.paid())["id"] for _ in range(3)]
        async with listening(caller, last_id=source.events[0].id) as later:
            await eventually(lambda: len(later.events) == 4, describe=lambda: str(later.events))
        assert later.payments() == ids[1:]


async def test_payments_of_one_shard_go_on_while_the_other_is_away(sharded: Running, client: httpx.AsyncClient) -> None:
    """A payment of the shard that is away is accepted, and recorded once it is back."""
    first, second = await callers(client)
    with sharded.hung("payments-0of2"):
        waiting = (await first.pay()).json()
        assert (await second.paid())["status"] == "created"
        assert_problem(await first("GET", f"/payments/{waiting['id']}"), 504)
        assert (await second("GET", "/payments")).status_code == 200

    async def is_recorded() -> bool:
        return bool((await first("GET", f"/payments/{waiting['id']}")).json().get("status") == "created")

    await eventually(is_recorded)


async def test_payments_survive_a_killed_shard(sharded: Running, client: httpx.AsyncClient) -> None:
    """Every accepted payment is recorded once, in its shard; the keys of both shards are still guarded."""
    both = await callers(client)
    accepted: dict[str, list[httpx.Response]] = {caller.id: [] for caller in both}
    for number in range(20):
        if number == 5:
            sharded.kill("payments-1of2")
        for caller in both:
            accepted[caller.id].append(await caller.pay(1 + number, key=str(number)))
    for caller in both:
        assert {answer.status_code for answer in accepted[caller.id]} == {202}
        ids = [answer.json()["id"] for answer in accepted[caller.id]]
        await eventually(partial(are_listed, caller, ids[::-1]))
        assert (await caller.pay(1, key="0")).content == accepted[caller.id][0].content


async def are_listed(caller: Caller, ids: list[str]) -> bool:
    """Return whether a caller's payments are exactly these, newest first."""
    answer = await caller("GET", "/payments", params={"limit": 100})
    return answer.status_code == 200 and [payment["id"] for payment in answer.json()["data"]] == ids


async def test_operator_sees_all_shards(sharded: Running) -> None:
    checks = {each["check"]: each["status"] for each in json.loads(await operator(sharded, "doctor", "--json"))}
    assert {"stream PAYMENT_EVENTS_1OF2", "consumer payments-create_payment-0of2", "payments-1of2 outbox"} <= set(
        checks
    )
    assert set(checks.values()) <= {"ok", "warning"}
    assert json.loads(await operator(sharded, "dead-letters", "list", "--json")) == []
    assert "payments-1of2" in await operator(sharded, "status")


async def test_backup_has_all_shards(sharded: Running, tmp_path: Path) -> None:
    parts = {each["part"] for each in json.loads(await operator(sharded, "backup", str(tmp_path / "b"), "--json"))}
    assert parts >= {"payments-0of2", "payments-1of2", "users", "PAYMENT_EVENTS_0OF2", "KEYED_PAYMENT_COMMANDS_1OF2"}
    assert not parts & {"payments", "PAYMENT_EVENTS"}
