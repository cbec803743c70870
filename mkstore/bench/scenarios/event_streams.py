"""The scenario of event streams: a thousand clients listen while payments run at half of the maximum rate."""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime

import nats
from nats.js import JetStreamContext

from contracts.streams import PAYMENT_EVENTS
from mkstore.bench.load.calls import Call
from mkstore.bench.load.measure import Turn, under_load
from mkstore.bench.load.target import Target
from mkstore.bench.samples import Sample
from mkstore.bench.scenarios.recording import empty_payments, wait_until_drained
from mkstore.bench.scenarios.stream_client import EventClient, open_streams
from mkstore.bench.scenarios.writes import accepted_by, payments
from mkstore.chaos.audit import read_events

STREAMS = 1000
_ARRIVAL_TIMEOUT = 30.0
_POLL_INTERVAL = 0.05
_SHARE = 0.5
_EXAMPLES = 5


@dataclass(frozen=True)
class Paced:
    """The payments, and the delay of each connection with which they run at half of the maximum rate."""

    calls: Sequence[Call]
    delay: float
    maximum: float


@dataclass(frozen=True)
class EventStreamScenario:
    """Open streams, one for each user, under payments at half of the maximum rate."""

    name: str = "event-streams"
    description: str = "1,000 open `GET /events`, one per user, while payments run at half of the maximum rate."

    def concurrencies(self, wanted: Sequence[int]) -> Sequence[int]:
        """Return the second lowest of those `wanted`, for the payments."""
        return sorted(wanted)[:2][-1:]

    async def prepare(self, target: Target, turn: Turn) -> Paced:
        """Measure the maximum rate of payments without open streams."""
        calls = await payments(target, turn.random)
        await empty_payments(target)
        done = await under_load(target, replace(turn, seconds=max(1, turn.seconds // 2)), calls)
        await wait_until_drained(target, accepted_by(done))
        maximum = max(1.0, done.sample.rate)
        delay = 1e3 * turn.concurrency / (maximum * _SHARE) - done.sample.latency["p50"] / 2
        return Paced(calls, max(1.0, delay), maximum)

    async def measure(self, target: Target, turn: Turn, prepared: Paced) -> list[Sample]:
        """Pay for one turn with open streams, and compare what each client got with the stored events."""
        await empty_payments(target)
        async with _jetstream(target) as jetstream:
            first = (await jetstream.stream_info(PAYMENT_EVENTS.name)).state.last_seq + 1
            clients = await open_streams(target.url, target.users[:STREAMS])
            try:
                done = await under_load(target, turn, prepared.calls, delay=prepared.delay)
                drained = await wait_until_drained(target, accepted_by(done))
                deadline = time.monotonic() + _ARRIVAL_TIMEOUT
                while sum(client.count for client in clients) < drained.rows and time.monotonic() < deadline:  # noqa: ASYNC110 - counters set no event
                    await asyncio.sleep(_POLL_INTERVAL)
            finally:
                for client in clients:
                    client.close()
            expected = defaultdict(list)
            for event in (await read_events(jetstream, PAYMENT_EVENTS.name, first))[0]:
                expected[event.body["payment"]["userId"]].append(event.body["payment"]["id"])
        wrong, delays = compare(clients, expected)
        figures = {
            "open streams": float(len(clients)),
            "events": float(len(delays)),
            "share of the maximum rate": round(done.sample.rate / prepared.maximum, 2),
        }
        for percent in (50, 99, 100):
            position = min(len(delays) - 1, len(delays) * percent // 100)
            figures[f"acceptance to client p{percent} (ms)"] = round(delays[position], 1) if delays else 0.0
        return [replace(done.sample, figures=figures, wrong=(*done.sample.wrong, *wrong))]


def compare(clients: Sequence[EventClient], expected: Mapping[str, Sequence[str]]) -> tuple[list[str], list[float]]:
    """Return what is wrong with the events of the clients, and the sorted delays of all events in milliseconds.

    `expected` has the payment ids of each user in the order of the stored events.
    """
    wrong, delays = [], []
    for client in clients:
        got = []
        for received in client.events():
            if payment := received.content.get("payment"):
                got.append(payment["id"])
                delays.append((received.at - datetime.fromisoformat(payment["createdAt"]).timestamp()) * 1e3)
        wanted = list(expected.get(str(client.account.id), ()))
        if got != wanted:
            reason = "in another order" if sorted(got) == sorted(wanted) else "others"
            wrong.append(
                f"the stream of user {client.account.id} ({client.status_line}) had {len(got)} events, "
                f"{len(wanted)} are stored, {reason}"
            )
    return wrong[:_EXAMPLES] + ([f"{len(wrong)} streams in all"] if len(wrong) > _EXAMPLES else []), sorted(delays)


@asynccontextmanager
async def _jetstream(target: Target) -> AsyncIterator[JetStreamContext]:
    client = await nats.connect(target.nats_admin_url)
    try:
        yield client.jetstream()
    finally:
        await client.close()
