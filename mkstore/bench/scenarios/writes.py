"""The scenarios that pay: each turn begins with an empty table and ends when all is recorded."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

import nats

from mkstore.bench.load.calls import Call
from mkstore.bench.load.measure import Measured, Turn, per_request, under_load
from mkstore.bench.load.processor import processor_times
from mkstore.bench.load.target import Target
from mkstore.bench.samples import Sample
from mkstore.bench.scenarios.recording import empty_payments, faults, probe, wait_until_drained
from mkstore.bench.scenarios.scenario import Calls

_PER_USER = 3
"""Different payments of each user in the file that wrk draws from; metadata and key differ each time anyway."""
_READS, _PAYMENTS, _LISTS = 7, 2, 1
"""Shares of the mix, in tenths."""


async def payments(target: Target, random: Random) -> Sequence[Call]:
    """Return payments of each user."""
    return [target.pay(account, random) for account in target.users for _ in range(_PER_USER)]


async def keyed_payments(target: Target, random: Random) -> Sequence[Call]:
    """Return payments with a new `Idempotency-Key` each time; without one where the contender knows none."""
    return [target.pay(account, random, keyed=True) for account in target.users for _ in range(_PER_USER)]


async def mix(target: Target, random: Random) -> Sequence[Call]:
    """Return 70 % reads of users, 20 % payments and 10 % lists of payments."""
    calls = []
    for account in target.users:
        calls += [target.get_user(account)] * _READS
        calls += [target.pay(account, random) for _ in range(_PAYMENTS)]
        calls += [target.list_payments(account)] * _LISTS
    return calls


@dataclass(frozen=True)
class PaymentScenario:
    """Requests of which the share `paying` are payments.

    With `probes`, the time from the response to the row is measured too, at the highest number of connections only.
    """

    name: str
    description: str
    calls: Calls
    paying: bool = True
    probes: bool = False

    def concurrencies(self, wanted: Sequence[int]) -> Sequence[int]:
        """Return those `wanted`; with probes only the highest."""
        return [max(wanted)] if self.probes else wanted

    async def prepare(self, target: Target, turn: Turn) -> Sequence[Call]:
        """Return the requests; before the first round, send them for a second."""
        calls = await self.calls(target, turn.random)
        if turn.warms_up:
            await empty_payments(target)
            await under_load(target, replace(turn, seconds=1), calls)
        return calls

    async def measure(self, target: Target, turn: Turn, prepared: Sequence[Call]) -> list[Sample]:
        """Pay for one turn, and wait until everything is recorded."""
        await empty_payments(target)
        messages = await messages_in(target)
        before = processor_times(target.parts())
        stop = asyncio.Event()
        call = turn.random.choice(prepared)
        probing = asyncio.create_task(probe(target, call, stop)) if self.probes else None
        try:
            done = await under_load(target, turn, prepared)
        finally:
            stop.set()
        probed, delays = await probing if probing else (0, [])
        delays.sort()
        accepted = accepted_by(done) + probed if self.paying else None
        drained = await wait_until_drained(target, accepted)
        wrong = faults(drained, accepted, turn.concurrency) if accepted is not None else []
        # Until everything is recorded, so that a contender that records later does not seem to need less.
        used = per_request(before, processor_times(target.parts()), done.requests + probed)
        figures = {
            "recorded after the end (s)": drained.recorded_after,
            "announced after the end (s)": drained.announced_after,
            "rows": float(drained.rows),
        }
        if target.command_streams and (sent := await messages_in(target) - messages):
            figures["payments in a message"] = round(drained.rows / sent, 1)
        if delays:
            figures |= {
                "response to row p50 (ms)": round(delays[len(delays) // 2], 1),
                "response to row p99 (ms)": round(delays[int(len(delays) * 0.99)], 1),
            }
        processor = {**done.sample.processor, **used}
        return [replace(done.sample, processor=processor, figures=figures, wrong=(*done.sample.wrong, *wrong))]


async def messages_in(target: Target) -> int:
    """Return the number of messages that the streams of commands ever stored; 0 if they are not known."""
    if not target.command_streams:
        return 0
    client = await nats.connect(target.nats_admin_url)
    try:
        found = [await client.jetstream().stream_info(stream) for stream in target.command_streams]
    finally:
        await client.close()
    return sum(info.state.last_seq for info in found)


def accepted_by(done: Measured) -> int:
    """Return the number of accepted payments of a turn that only pays."""
    return done.requests - done.sample.failures.get("status", 0)
