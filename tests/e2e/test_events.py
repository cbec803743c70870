"""Server-sent events: one's own, without a gap, whatever is killed meanwhile."""

import asyncio
import os
import signal
import time

import httpx

from tests.support.event_source import listening
from tests.support.http_client import Caller, assert_problem, calling, say, sign_up
from tests.support.polling import eventually
from tests.support.recovery import wait_until_replaced
from tests.support.running_store import Running


async def test_one_is_told_of_ones_own_and_of_nothing_else(http: httpx.AsyncClient) -> None:
    ada, eve = await sign_up(http), await sign_up(http)
    async with listening(ada) as source:
        await eve.paid()
        payment = await ada.paid()
        await ada("PATCH", f"/users/{ada.id}", json={"name": "Ada"})
        await eventually(lambda: len(source.events) >= 2, or_else=lambda: str(source.events))
    assert [event.type for event in source.events] == ["payment.created", "user.updated"]
    assert source.events[0].data["payment"] == payment
    assert source.events[1].data["user"]["name"] == "Ada"


async def test_the_last_id_resumes_without_a_gap(http: httpx.AsyncClient) -> None:
    ada = await sign_up(http)
    async with listening(ada) as source:
        made = [(await ada.paid())["id"] for _ in range(2)]
        await eventually(lambda: source.payments() == made, or_else=lambda: str(source.events))
    made += [(await ada.paid())["id"] for _ in range(3)]  # while nobody listens
    async with listening(ada, last_id=source.last_id) as later:
        made += [(await ada.paid())["id"] for _ in range(2)]
        await eventually(lambda: later.payments() == made[2:], or_else=lambda: str(later.events))
    async with listening(ada, last_id=source.events[0].id) as from_the_first:
        await eventually(lambda: from_the_first.payments() == made[1:], or_else=lambda: str(from_the_first.events))


async def test_an_id_that_is_none_is_refused(http: httpx.AsyncClient) -> None:
    ada = await sign_up(http)
    for given in ("x", "1", "1-", "-1", "1-2-3", "1-x", "²-³", "9" * 51):
        assert_problem(await ada("GET", "/events", headers={"Last-Event-ID": given}), 422)
    assert_problem(await http.get("/events"), 401)


async def test_the_stream_ends_with_the_user(http: httpx.AsyncClient) -> None:
    ada = await sign_up(http)
    async with listening(ada) as source:
        await ada("DELETE", f"/users/{ada.id}")
        await eventually(lambda: source.endings == ["ended"], or_else=lambda: str(source.endings))
    assert [event.type for event in source.events] == ["user.deleted"]


async def _pay_until(done: asyncio.Event, ada: Caller) -> list[str]:
    """Pay, each time under a key that is repeated until it is answered; return the payments' ids."""
    made: list[str] = []
    while not done.is_set():
        key = f"{ada.id} {len(made)}"

        async def accepted(key: str = key) -> str:
            try:
                answer = await ada.pay(key=key)
            except httpx.TransportError:
                return ""
            return str(answer.json()["id"]) if answer.status_code == 202 else ""

        made.append(await eventually(accepted, within=60))
        await asyncio.sleep(0.02)
    return made


async def test_no_event_is_missed_while_nats_and_the_gateway_are_killed(battered: Running) -> None:
    async with calling(battered) as http:
        ada, done = await sign_up(http), asyncio.Event()
        async with listening(ada, come_back=True) as source:
            paying = asyncio.create_task(_pay_until(done, ada))
            for name in ("nats", "gateway", "nats"):
                count = len(source.events)
                await eventually(lambda c=count: len(source.events) > c + 20, within=60)  # type: ignore[misc]
                pid = battered.record[name]["pid"]
                began = time.monotonic()
                battered.kill_part(name)
                await wait_until_replaced(battered, name, pid)
                count = len(source.events)
                await eventually(lambda c=count: len(source.events) > c, within=30)  # type: ignore[misc]
                say(f"kill -9 {name}: events flow again after {time.monotonic() - began:.1f} s")
            done.set()
            made = await paying
            await eventually(
                lambda: set(source.payments()) >= set(made),
                or_else=lambda: f"{len(set(made) - set(source.payments()))} of {len(made)} are missing",
            )
        told = source.payments()
        say(f"{len(made)} payments, {len(told)} events over {source.connections} connections")
        assert set(told) == set(made)
        assert len(told) == len(set(told)), "an id was given before the event that it stands for"

        # An open stream does not keep the gateway from ending.
        ada = await ada.signed_in_again()
        async with listening(ada) as open_stream:
            pid = battered.record["gateway"]["pid"]
            began = time.monotonic()
            os.kill(pid, signal.SIGTERM)
            await eventually(lambda: open_stream.endings, within=5)
            ended_after = time.monotonic() - began
            await wait_until_replaced(battered, "gateway", pid)
            ready_after = time.monotonic() - began
            say(f"SIGTERM gateway: stream ended after {ended_after:.1f} s, back after {ready_after:.1f} s")
        assert open_stream.endings == ["ended"]
