"""A client of the event stream receives every event, although NATS and the gateway are killed."""

import asyncio
import signal

import httpx

from tests.support.event_source import listening
from tests.support.http_client import Caller, calling, say, sign_up
from tests.support.polling import eventually
from tests.support.running_store import Running


async def _pay_until(done: asyncio.Event, ada: Caller) -> list[str]:
    """Pay, each time with a key that is repeated until the payment is accepted; return the payments' ids."""
    ids: list[str] = []
    while not done.is_set():
        key = f"{ada.id} {len(ids)}"

        async def accepted(key: str = key) -> str:
            try:
                answer = await ada.pay(key=key)
            except httpx.TransportError:
                return ""
            return str(answer.json()["id"]) if answer.status_code == 202 else ""

        ids.append(await eventually(accepted))
        await asyncio.sleep(0.02)
    return ids


async def test_no_event_is_missed_while_nats_and_gateway_are_killed(unlimited_store: Running) -> None:
    async with calling(unlimited_store) as http:
        ada, done = await sign_up(http), asyncio.Event()
        async with listening(ada, reconnect=True) as source:
            paying = asyncio.create_task(_pay_until(done, ada))
            for name in ("nats", "gateway"):
                count = len(source.events)
                await eventually(lambda c=count: len(source.events) > c + 20)  # type: ignore[misc]
                unlimited_store.kill(name)
                await unlimited_store.wait_until_recovered()
                count = len(source.events)
                await eventually(lambda c=count: len(source.events) > c)  # type: ignore[misc]
            done.set()
            paid = await paying
            await eventually(
                lambda: set(source.payments()) >= set(paid),
                describe=lambda: f"{len(set(paid) - set(source.payments()))} of {len(paid)} are missing",
            )
        received = source.payments()
        say(f"{len(paid)} payments, {len(received)} events over {source.connections} connections")
        assert set(received) == set(paid)
        assert len(received) == len(set(received)), "an event was received twice"


async def test_open_stream_does_not_keep_the_gateway_from_stopping(unlimited_store: Running) -> None:
    async with calling(unlimited_store) as http:
        ada = await sign_up(http)
        async with listening(ada) as source:
            unlimited_store.send("gateway", signal.SIGTERM)
            await eventually(lambda: source.endings)
            await unlimited_store.wait_until_recovered()
        assert source.endings == ["ended"]
