"""Gateways as processes: two of them share a key, one dies in the middle of a batch, one feeds many event streams."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from contracts.streams import PAYMENT_EVENTS
from kit.messaging.broker import Broker
from mkstore.bench.load.target import Account
from mkstore.bench.scenarios.event_streams import compare
from mkstore.bench.scenarios.stream_client import open_streams
from mkstore.chaos.audit import read_events
from tests.support import service_processes
from tests.support.payments_harness import unhandled
from tests.support.polling import eventually
from tests.support.real_store import Servers, on_real_servers
from tests.support.service_harness import stored_events
from tests.support.service_processes import ServiceProcess
from tests.support.store import SignedInUser, Store, new_key

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONCURRENT = 200
PAYMENTS = 90
STREAMS, EVENTS_EACH = 50, 8


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def store(servers: Servers) -> AsyncIterator[Store]:
    """Serve users and payments, and a gateway that stays alive, in this process."""
    async with on_real_servers(servers) as running:
        yield running


@asynccontextmanager
async def gateway_process(folder: Path, servers: Servers, **environment: str) -> AsyncIterator[ServiceProcess]:
    """Run one gateway process until the end of the block."""
    own = {"NATS_URL": servers.nats_url, "RATE_LIMIT_ENABLED": "false", "REQUEST_TIMEOUT": "15", **environment}
    async with service_processes.run_service("gateway", folder, own) as gateway:
        await gateway.wait_ready()
        yield gateway


async def at(gateway: ServiceProcess, caller: SignedInUser) -> SignedInUser:
    """Return a caller who is known at this gateway: the fast path takes only tokens that were verified."""
    known = SignedInUser(gateway.http, caller.user, caller.token)
    assert (await known.get("/users/me")).status_code == 200
    return known


async def recorded_amounts(store: Store, caller: SignedInUser) -> dict[int, list[str]]:
    """Return the ids of the caller's recorded payments by amount, once no command waits."""
    await eventually(partial(_is_idle, store.broker))
    payments = (await caller.get("/payments", limit=100)).json()
    assert not payments["hasMore"]
    ids = defaultdict(list)
    for payment in payments["data"]:
        assert payment["status"] == "created"
        ids[payment["amount"]].append(payment["id"])
    return ids


async def _is_idle(broker: Broker) -> bool:
    return not await unhandled(broker)


async def test_one_key_at_two_gateway_processes_makes_one_payment(
    tmp_path: Path, store: Store, servers: Servers
) -> None:
    ada, key = await store.sign_up(), new_key()
    async with AsyncExitStack() as stack:
        gateways = [await stack.enter_async_context(gateway_process(tmp_path, servers)) for _ in range(2)]
        callers = [await at(gateway, ada) for gateway in gateways]
        responses = await asyncio.gather(*(callers[number % 2].pay(key) for number in range(CONCURRENT)))
    assert {response.status_code for response in responses} == {202}, {response.text for response in responses}
    assert len({response.content for response in responses}) == 1
    replayed = [response.headers.get("idempotent-replayed") for response in responses]
    assert sorted(replayed, key=str) == [None] + ["true"] * (CONCURRENT - 1)
    payment = responses[0].json()["id"]
    assert await recorded_amounts(store, ada) == {1999: [payment]}
    await store_has_one_event(store, payment)


async def store_has_one_event(store: Store, payment: str) -> None:
    async def ids() -> list[str]:
        events = await stored_events(store.broker, PAYMENT_EVENTS, "payments")
        return [each.headers["ce-id"] for each in events if str(each.event.aggregate_id) == payment]

    assert len(await eventually(ids)) == 1


@pytest.mark.parametrize("point", ["before-publish", "after-batch", "after-publish"])
async def test_no_payment_of_a_dying_gateway_is_lost_or_doubled(
    tmp_path: Path, store: Store, servers: Servers, point: str
) -> None:
    ada = await store.sign_up()
    accepted = await pay_until_death(tmp_path, servers, point, ada, [None] * PAYMENTS)
    recorded = await recorded_amounts(store, ada)
    assert all(len(ids) == 1 for ids in recorded.values()), "a payment is recorded twice"
    assert {amount: recorded.get(amount) for amount in accepted} == {
        amount: [response.json()["id"]] for amount, response in accepted.items()
    }
    if point == "before-publish":
        assert not recorded
    else:
        assert len(recorded) > len(accepted), "the gateway has not died between the publish and the answer"


@pytest.mark.parametrize("point", ["before-publish", "half-a-batch", "after-atomic-batch"])
async def test_key_repeated_after_a_gateway_died_makes_one_payment(
    tmp_path: Path, store: Store, servers: Servers, point: str
) -> None:
    ada, keys = await store.sign_up(), [new_key() for _ in range(PAYMENTS)]
    accepted = await pay_until_death(tmp_path, servers, point, ada, keys)
    again = await asyncio.gather(*(ada.pay(key, amount=number) for number, key in enumerate(keys, start=1)))
    assert {response.status_code for response in again} == {202}
    assert {number: again[number - 1].content for number in accepted} == {
        number: response.content for number, response in accepted.items()
    }
    stored = {number for number, each in enumerate(again, start=1) if "idempotent-replayed" in each.headers}
    assert stored >= accepted.keys()
    if point == "before-publish":
        assert not stored
    if point == "after-atomic-batch":
        assert len(stored) > len(accepted) + 1, "the gateway has not died after an atomic batch"
    assert await recorded_amounts(store, ada) == {
        number: [response.json()["id"]] for number, response in enumerate(again, start=1)
    }


async def pay_until_death(
    folder: Path, servers: Servers, point: str, caller: SignedInUser, keys: Sequence[str | None]
) -> dict[int, httpx.Response]:
    """Pay 1, 2, 3 ... cents at once at a gateway that dies at a failpoint; return the accepted ones by amount."""
    async with gateway_process(folder, servers, FAILPOINTS=str(folder)) as gateway:
        ada = await at(gateway, caller)
        (folder / f"gateway.{point}").touch()
        paying = [ada.pay(key, amount=number) for number, key in enumerate(keys, start=1)]
        answers = await asyncio.gather(*paying, return_exceptions=True)
        assert await gateway.wait_exit() == -9
    accepted = {}
    for number, answer in enumerate(answers, start=1):
        if isinstance(answer, httpx.Response):
            assert answer.status_code == 202, answer.text
            accepted[number] = answer
        else:
            assert isinstance(answer, httpx.TransportError), answer
    return accepted


async def test_each_of_many_event_streams_gets_its_own_events_in_order(
    tmp_path: Path, store: Store, servers: Servers
) -> None:
    users = [await store.sign_up() for _ in range(STREAMS)]  # at once, they could wait too long for the small pool
    first = (await store.broker.jetstream.stream_info(PAYMENT_EVENTS.name)).state.last_seq + 1
    async with gateway_process(tmp_path, servers) as gateway:
        clients = await open_streams(str(gateway.http.base_url), [Account(user.id, "", user.token) for user in users])
        try:
            callers = [SignedInUser(gateway.http, user.user, user.token) for user in users]
            for amount in range(1, EVENTS_EACH + 1):  # half of them with a key
                keys = [new_key() if number % 2 else None for number in range(STREAMS)]
                paying = [ada.pay(key, amount=amount) for ada, key in zip(callers, keys, strict=True)]
                paid = await asyncio.gather(*paying)
                assert {response.status_code for response in paid} == {202}
            expected = await eventually(partial(stored_payments, store, first, STREAMS * EVENTS_EACH))
            assert {user.id: len(expected[user.id]) for user in users} == {user.id: EVENTS_EACH for user in users}
            await eventually(
                lambda: compare(clients, expected)[0] == [], describe=lambda: compare(clients, expected)[0]
            )
        finally:
            for client in clients:
                client.close()


async def stored_payments(store: Store, first: int, count: int) -> dict[str, list[str]]:
    """Return the payments of each user in the order of their events; nothing until there are `count` events."""
    events, _ = await read_events(store.broker.jetstream, PAYMENT_EVENTS.name, first)
    payments = defaultdict(list)
    for event in events if len(events) >= count else ():
        payments[event.body["payment"]["userId"]].append(event.body["payment"]["id"])
    return payments
