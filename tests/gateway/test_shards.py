"""The store with several shards of payments: to a client it is the store with one."""

import asyncio
from collections.abc import AsyncIterator
from itertools import count
from typing import Any
from uuid import UUID

import pytest

from apps.gateway.payments.accept import new_command
from apps.gateway.payments.ids import payment_id
from contracts.headers import DEAD_STREAM
from contracts.payments import Charge, CreatePayment, PaymentCreated, PaymentRejected
from contracts.shards import Shard, Shards
from contracts.streams import KEYED_PAYMENT_COMMANDS, PAYMENT_COMMANDS, PAYMENT_EVENTS
from kit.messaging.dead_letters import DeadLetterRecord
from mkstore.reject_payment import reject_payment
from mkstore.testing import MemoryStore, SignedInUser, in_memory
from tests.support.polling import eventually

TWO = Shards(2)


@pytest.fixture
async def sharded() -> AsyncIterator[MemoryStore]:
    async with in_memory(shards=2) as store:
        yield store


async def user_of(store: MemoryStore, shard: Shard) -> SignedInUser:
    """Return a new user whose payments belong to a shard."""
    for _ in range(64):
        user = await store.sign_up()
        if TWO.of_user(UUID(user.id)) == shard:
            return user
    raise AssertionError(shard)


async def payer_beside(store: MemoryStore, caller: SignedInUser) -> SignedInUser:
    """Return a new user of the other shard than that of `caller`."""
    (other,) = set(TWO.all) - {TWO.of_user(UUID(caller.id))}
    return await user_of(store, other)


def rows(store: MemoryStore, shard: Shard) -> set[str]:
    """Return the ids of the payments in the database of a shard."""
    return {str(payment) for payment in store.services[f"payments-{shard.name}"].data.rows}


async def listed(user: SignedInUser, **params: Any) -> list[str]:
    response = await user.get("/payments", **params)
    assert response.status_code == 200, response.text
    return [payment["id"] for payment in response.json()["data"]]


@pytest.mark.parametrize("key", [None, "a key"])
async def test_payment_is_recorded_in_the_shard_of_its_caller(sharded: MemoryStore, key: str | None) -> None:
    for shard, other in (TWO.all, TWO.all[::-1]):
        user = await user_of(sharded, shard)
        payment = await user.paid(key)
        assert payment["id"] in rows(sharded, shard)
        assert payment["id"] not in rows(sharded, other)
        assert await listed(user) == [payment["id"]]
        stream = KEYED_PAYMENT_COMMANDS if key else PAYMENT_COMMANDS
        assert [each for each in sharded.streams.published if each.stream == stream.of(shard)]
    assert not [each for each in sharded.streams.published if each.stream.sharded]


async def test_key_makes_one_payment_whatever_the_payer(sharded: MemoryStore) -> None:
    admin = await sharded.admin()
    payer = await payer_beside(sharded, admin)
    body = {"amount": 5, "userId": payer.id}
    first, *others = await asyncio.gather(*(admin.pay("one", **body) for _ in range(5)))
    assert {response.content for response in others} == {first.content}
    assert (await admin.pay("one", amount=5)).json()["code"] == "idempotency-key-reused"
    await admin.recorded(first.json()["id"])
    assert (await admin.pay("one", **body)).content == first.content
    assert len(await sharded.published(PaymentCreated)) == 1


async def test_payment_by_an_admin_is_in_the_list_of_its_payer(sharded: MemoryStore) -> None:
    admin = await sharded.admin()
    payer = await payer_beside(sharded, admin)
    payment = await admin.paid(userId=payer.id)
    refused = await admin.paid(userId=payer.id, amount=1_000_000_000_000)
    assert (payment["status"], refused["status"]) == ("created", "rejected")
    own = await payer.paid()
    newest_first = [own["id"], refused["id"], payment["id"]]
    await eventually(lambda: _is_listed(payer, newest_first))
    assert await listed(admin, userId=payer.id) == newest_first
    assert await listed(payer, status="rejected") == [refused["id"]]
    assert (await payer.get(f"/payments/{payment['id']}")).json() == payment
    await sharded.settled()
    assert len(await sharded.published(PaymentCreated)) == 2
    assert len(await sharded.published(PaymentRejected)) == 1


async def _is_listed(user: SignedInUser, expected: list[str]) -> bool:
    return await listed(user) == expected


async def test_admin_pages_through_the_payments_of_all_shards(sharded: MemoryStore) -> None:
    """Copies in the payer's shard are listed once."""
    admin = await sharded.admin()
    users = [await user_of(sharded, shard) for shard in TWO.all]
    for number in range(4):
        for user in users:
            await user.paid(amount=number + 1)
            await admin.paid(userId=user.id)
    await sharded.settled()
    everything = (await admin.get("/payments", limit=100)).json()
    ids = [payment["id"] for payment in everything["data"]]
    assert len(ids) == len(set(ids)) == 16
    assert not everything["hasMore"]
    assert everything["data"] == sorted(everything["data"], key=lambda p: (p["createdAt"], p["id"]), reverse=True)
    for limit in (1, 3, 5, 16):
        paged, cursor = list[str](), None
        for _ in count():
            page = (await admin.get("/payments", limit=limit, **({"cursor": cursor} if cursor else {}))).json()
            paged += [payment["id"] for payment in page["data"]]
            cursor = page["nextCursor"]
            if not page["hasMore"]:
                break
        assert paged == ids


async def test_list_of_all_is_refused_while_a_shard_is_away(sharded: MemoryStore) -> None:
    admin = await sharded.admin()
    with sharded.away("payments"):
        assert (await admin.get("/payments")).status_code == 503


async def test_event_stream_has_the_events_of_all_shards(sharded: MemoryStore) -> None:
    admin = await sharded.admin()
    payer = await payer_beside(sharded, admin)
    async with sharded.events(payer) as stream:
        own = await payer.paid()
        other = await admin.paid(userId=payer.id)
        events = await stream.until(2)
    assert [(event.type, event.data["payment"]["id"]) for event in events] == [
        ("payment.created", own["id"]),
        ("payment.created", other["id"]),
    ]
    assert [event.id.count("-") for event in events] == [2, 2]
    missed = await payer.paid()
    async with sharded.events(payer, events[0].id) as stream:
        assert {event.data["payment"]["id"] for event in await stream.until(2)} == {other["id"], missed["id"]}


async def test_waiting_request_gets_the_recorded_payment(sharded: MemoryStore) -> None:
    for shard in TWO.all:
        user = await user_of(sharded, shard)
        response = await user.pay(None, "wait=10")
        assert (response.status_code, response.json()["status"]) == (201, "created")


async def test_event_names_the_payers_shard_only_if_it_is_another(sharded: MemoryStore) -> None:
    admin = await sharded.admin()
    payer = await payer_beside(sharded, admin)
    await admin.paid()
    await admin.paid(userId=payer.id)
    shard, other = TWO.of_user(UUID(admin.id)), TWO.of_user(UUID(payer.id))
    subjects = [each.subject for each in sharded.streams.published if each.stream == PAYMENT_EVENTS.of(shard)]
    assert subjects == [f"payment.{shard.name}.created", f"payment.{shard.name}.created.{other.name}"]
    types = {each.headers["ce-type"] for each in sharded.streams.published if each.subject in subjects}
    assert types == {"payment.created"}


async def test_failed_payment_is_dead_lettered_under_the_subject_of_its_shard(sharded: MemoryStore) -> None:
    user = await sharded.sign_up()
    payment = (await user.pay(amount=666)).json()
    shard = TWO.of_user(UUID(user.id))
    [letter] = await sharded.dead_lettered(CreatePayment)
    assert letter.subject == f"payments.{shard.name}.create.key.{payment['id']}"
    assert (await user.get(f"/payments/{payment['id']}")).json() == payment


async def test_operator_rejects_a_dead_letter_in_its_shard(sharded: MemoryStore) -> None:
    admin = await sharded.admin()
    payer, caller = await payer_beside(sharded, admin), UUID(admin.id)
    shard = TWO.of_user(caller)
    command = new_command(Charge(amount=7), UUID(payer.id), payment_id(caller, "given up"))
    subject, stream = shard.subject(command.address), KEYED_PAYMENT_COMMANDS.of(shard)
    letter = DeadLetterRecord(1, subject, {DEAD_STREAM: stream.name}, command.model_dump_json().encode())
    assert await asyncio.create_task(reject_payment(sharded.broker, letter)) is None
    assert str(command.id) in rows(sharded, shard)
    await eventually(lambda: _is_listed(payer, [str(command.id)]))
    assert (await payer.get(f"/payments/{command.id}")).json()["reason"] == "given-up"
