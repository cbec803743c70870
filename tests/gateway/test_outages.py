"""Outages on real servers: killed and restarted servers and services."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from operator import le
from typing import Any

import pytest
import pytest_asyncio

from contracts.streams import PAYMENT_EVENTS, USER_EVENTS
from kit.runtime.tasks import cancel_and_wait
from mkstore.stack.servers import NatsServer
from tests.conftest import NewDatabase
from tests.support.polling import eventually
from tests.support.provisioning import provision
from tests.support.real_store import Servers, on_real_servers
from tests.support.store import SignedInUser, Store, new_key
from tests.support.users_harness import CONFIRMED

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """Run a nats-server that the tests may kill and fill."""
    with NatsServer(tmp_path_factory.mktemp("outages")) as server:
        provision(server.url)
        yield server


@pytest.fixture(scope="module")
def servers(nats_server: NatsServer, new_database: NewDatabase) -> Servers:
    return Servers(nats_server.url, new_database("users"), new_database("payments"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running_store(servers: Servers) -> AsyncIterator[Store]:
    async with on_real_servers(servers) as store:
        yield store


@pytest_asyncio.fixture(loop_scope="module")
async def store(running_store: Store, nats_server: NatsServer) -> Store:
    """Return the store once all services have recovered from the outage of the previous test."""
    if not nats_server.is_running:
        await asyncio.to_thread(nats_server.start)
    user = await running_store.somebody()

    async def serves() -> bool:
        return {(await user.get(path)).status_code for path in ("/users/me", "/payments")} == {200}

    await eventually(serves)
    return running_store


def kill(server: NatsServer) -> None:
    assert server.process
    server.process.kill()
    server.process.wait()


async def pay_until_accepted(caller: SignedInUser, key: str, **body: Any) -> str:
    """Repeat a payment with its key until it is accepted; return its id."""

    async def pay() -> str | None:
        response = await caller.pay(key, **body)
        assert response.status_code in {202, 503, 504}, response.text
        return str(response.json()["id"]) if response.status_code == 202 else None

    return await eventually(pay) or ""


async def consumers(store: Store) -> list[int]:
    infos = [await store.broker.jetstream.stream_info(stream.name) for stream in (USER_EVENTS, PAYMENT_EVENTS)]
    return [info.state.consumer_count for info in infos]


async def test_event_wakes_a_waiting_request_without_polling(store: Store) -> None:
    ada = await store.sign_up()
    requests: list[str] = []

    async def record(message: Any) -> None:
        requests.append(message.subject)

    subscription = await store.broker.client.subscribe("payments.*", cb=record)
    async with store.outages.held():
        waiting = asyncio.create_task(ada.pay(None, "wait=30"))
        await asyncio.sleep(0.5)
        assert not waiting.done()
    response = await asyncio.wait_for(waiting, 60)
    await subscription.unsubscribe()
    assert (response.status_code, response.json()["status"], requests) == (201, "created", [])


async def test_all_event_streams_share_one_reader(store: Store) -> None:
    ada = await store.sign_up()
    await ada.paid()
    before = await consumers(store)
    async with contextlib.AsyncExitStack() as stack:
        streams = [
            await stack.enter_async_context(store.events(ada, "0-0" if number % 2 else None)) for number in range(10)
        ]
        await ada.paid()
        for number, stream in enumerate(streams):
            await stream.until(2 if number % 2 else 1)
        now = await consumers(store)
        assert all(map(le, now, before)), (now, before)  # a consumer of an earlier store may have ended meanwhile


async def test_nats_restart_loses_and_repeats_no_event(nats_server: NatsServer, store: Store) -> None:
    ada = await store.sign_up()
    payments = [(await ada.paid(amount=1))["id"]]
    async with store.events(ada, "0-0") as staying:
        async with store.events(ada, "0-0") as leaving:
            await asyncio.gather(leaving.until(2), staying.until(2))
        for amount in (2, 3):
            await asyncio.to_thread(kill, nats_server)
            await eventually(lambda: not store.broker.is_connected())
            assert (await ada.pay()).status_code == 503
            await asyncio.to_thread(nats_server.start)
            key = new_key()
            payments.append(await pay_until_accepted(ada, key, amount=amount))
            assert await pay_until_accepted(ada, key, amount=amount) == payments[-1]
            await ada.recorded(payments[-1])
        renamed = await ada.request("PATCH", f"/users/{ada.id}", json={"name": "Countess"})
        assert renamed.status_code == 200
        await staying.until(5)
        async with store.events(ada, leaving.last_id) as back:
            await back.until(3)
            payments.append((await ada.paid(amount=4))["id"])
            for events in (await staying.until(6), [*leaving.events, *await back.until(4)]):
                assert [e.data["payment"]["id"] for e in events if e.type == "payment.created"] == payments
                assert [e.type for e in events if e.type.startswith("user.")] == ["user.created", "user.updated"]
                assert len(events) == 6
    assert (await store.http.get("/health")).status_code == 200


async def test_user_deleted_right_after_nats_restart_is_refused(nats_server: NatsServer, store: Store) -> None:
    ada, bob = await store.sign_up(), await store.sign_up()
    await asyncio.to_thread(kill, nats_server)
    await asyncio.to_thread(nats_server.start)

    async def deleted() -> bool:
        return (await ada.request("DELETE", f"/users/{ada.id}", json=CONFIRMED)).status_code in {
            204,
            404,
        }

    async def refused() -> bool:
        return (await ada.get("/users/me")).status_code == 401

    await eventually(deleted)
    await eventually(refused)
    assert (await bob.get("/users/me")).status_code == 200


async def test_accepted_payments_survive_a_nats_kill(nats_server: NatsServer, store: Store) -> None:
    ada, keys = await store.sign_up(), [new_key() for _ in range(5)]
    async with store.outages.away("payments"):
        first = [await pay_until_accepted(ada, key) for key in keys]
        await asyncio.to_thread(kill, nats_server)
        await asyncio.to_thread(nats_server.start)
        assert [await pay_until_accepted(ada, key) for key in keys] == first
    for payment in first:
        await ada.recorded(payment)
    assert [await pay_until_accepted(ada, key) for key in keys] == first
    assert {payment["id"] for payment in (await ada.get("/payments")).json()["data"]} == set(first)


async def test_accepted_payment_is_always_found(store: Store) -> None:
    ada = await store.sign_up()
    seen: set[int] = set()
    paths: list[str] = []

    async def hammer() -> None:
        while True:
            for path in tuple(paths):
                seen.add((await ada.get(path)).status_code)
            await asyncio.sleep(0)

    hammering = [asyncio.create_task(hammer()) for _ in range(4)]
    async with store.outages.away("payments"):
        paths += [(await ada.pay()).headers["location"] for _ in range(5)]
        await eventually(lambda: seen)
        assert seen == {503}
    for _ in range(3):
        async with store.outages.held():
            paths.append((await ada.pay()).headers["location"])
            response = await ada.get(paths[-1])
            assert (response.status_code, response.json()["status"]) == (200, "pending")
    for path in paths:
        await ada.recorded(path.rpartition("/")[2])
    await cancel_and_wait(hammering)
    assert seen == {200, 503}


async def test_gateway_fails_fast_without_nats_and_recovers(nats_server: NatsServer, store: Store) -> None:
    ada = await store.sign_up()
    payment = await ada.paid()
    await asyncio.to_thread(kill, nats_server)
    await eventually(lambda: not store.broker.is_connected())
    for response in (await ada.get("/users/me"), await ada.get("/payments"), await ada.pay(new_key())):
        # Refused at once: after the request timeout it would be 504.
        assert (response.status_code, response.json()["detail"]) == (503, "The message broker is unavailable.")
        assert response.headers["retry-after"] == "1"
    assert (await store.http.get("/health")).status_code == 503
    async with store.events(ada, "0-0") as stream:
        await stream.end()
        assert stream.events == []
    await asyncio.to_thread(nats_server.start)

    async def works() -> bool:
        return (await store.http.get("/health")).status_code == 200

    await eventually(works)

    async def returned() -> bool:
        return bool((await ada.get(f"/payments/{payment['id']}")).json() == payment)

    await eventually(returned)  # the payments service may reconnect after the gateway
