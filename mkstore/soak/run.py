"""The run: a store, traffic for some minutes, and readings every few seconds."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from kit.runtime.tasks import cancel_and_wait
from mkstore.bench.contenders.stores import LIMITS_OFF, store_target
from mkstore.chaos.store import PROCESSES, Store
from mkstore.chaos.temporary_store import Kind, running
from mkstore.soak.readings import MEGABYTE, SLOPE_SECONDS, Growth, Reading, growth, live_heap, read
from mkstore.soak.traffic import Traffic

MAX_GROWTH = 1.0
"""Megabytes of private memory per ten minutes by which a process may grow after the warm-up, if it grows at all."""
LIVE_NATS = "nats, live"
"""The memory of NATS that is compared: its private memory has tens of megabytes of garbage and of blocks of streams."""
MAX_FILES = 20
"""Open files that a process may have more after the load than before it: pools of connections grow to their size."""
_USERS = 1000
_WARM_UP_SHARE, _MAX_WARM_UP = 0.25, 360.0
_READING_INTERVAL = 5.0
_FIRST_LOAD, _SETTLING_TIME = 5.0, 5.0
_REST = 150.0
"""Seconds without a request before a garbage collection shows what nats-server needs: it forgets the ids of messages
after two minutes (`Stream.duplicate_window`) and the blocks that it has read or written after seconds. Go collects
garbage every two minutes."""
_REMEMBERED_KEYS = 5000
"""So few that their number is constant after the warm-up. nats-server keeps an index of them in memory, 0.2 MB for a
thousand, which the default of a million would let grow for 14 hours."""
_SETTINGS = {**LIMITS_OFF, "FAILPOINTS": "", "REMEMBERED_KEYS": str(_REMEMBERED_KEYS)}


@dataclass(frozen=True)
class Rest:
    """What nats-server needs while no client sends anything."""

    begin: float
    """Seconds since the begin of the load."""
    end: float
    live: int
    """Bytes that are live after a garbage collection."""


@dataclass(frozen=True)
class Soaked:
    """What a run has shown."""

    minutes: float
    rate: float
    traffic: Traffic
    readings: Sequence[Reading]
    before: Reading
    """After a first load of some seconds, without clients."""
    after: Reading
    """After the load, without clients."""
    rests: tuple[Rest, Rest]
    """NATS after the warm-up, and after the load."""

    @property
    def growth(self) -> dict[str, Growth]:
        """The growth after the warm-up, by process."""
        first, last = self.rests
        compared = [reading for reading in self.readings if first.end <= reading.at <= last.begin]
        found = {name: growth(compared, name) for name in self.before.memory if name != "nats"}
        rate = (last.live - first.live) / MEGABYTE / (last.begin - first.end) * SLOPE_SECONDS
        return found | {LIVE_NATS: Growth(rate, rate, rate)}

    def faults(self) -> list[str]:
        """Return what is not as it should be, one sentence each."""
        found = [
            f"{name} grows by {by} MB per ten minutes, at most {MAX_GROWTH:g} is allowed"
            for name, by in self.growth.items()
            if by.rate > MAX_GROWTH and by.low > 0
        ]
        if self.traffic.failed:
            found.insert(0, f"{self.traffic.failed} requests failed, such as {self.traffic.faults[0]}")
        for name, number in self.before.files.items():
            if name not in self.after.files:
                found.append(f"{name} has ended")
            elif (more := self.after.files[name] - number) > MAX_FILES:
                found.append(f"{name} has {more} more open files after the load than before it")
        return found


async def soak(minutes: float, rate: float, seed: int, say: Callable[[str], None]) -> Soaked:
    """Start a store and load it; `say` prints a line per minute.

    Raises `NotRecovered` if the store does not start, `SeedFailed` if the users cannot be created.
    """
    async with running(Kind.DEFAULT, _SETTINGS) as store:
        target = await store_target("mkstore", store, _USERS)
        random = Random(seed)  # noqa: S311 - a load, no secret
        first = Traffic(target, random)
        await first.run(rate, _FIRST_LOAD)
        await asyncio.sleep(_SETTLING_TIME)
        before = _read(store, 0.0)
        traffic, readings = Traffic(target, random), [before]
        start = time.monotonic()
        reading = asyncio.create_task(_keep_reading(store, traffic, readings, start, say))
        warm_up = min(_MAX_WARM_UP, minutes * 60 * _WARM_UP_SHARE)
        try:
            await traffic.run(rate, warm_up)
            warm = await _rest(store, start, say)
            await traffic.run(rate, minutes * 60 - warm_up)
            await asyncio.sleep(_SETTLING_TIME)
            after = _read(store, time.monotonic() - start)
            rests = warm, await _rest(store, start, say)
        finally:
            await cancel_and_wait([reading])
        return Soaked(minutes, rate, traffic, readings, before, after, rests)


def _read(store: Store, at: float) -> Reading:
    return read(store.record, PROCESSES, at)


async def _rest(store: Store, start: float, say: Callable[[str], None]) -> Rest:
    """Wait until nats-server has collected what it needs no more, and return what it needs."""
    begin = time.monotonic() - start
    say(f"no load until nats-server has collected its garbage, {_REST / 60:.0f} to {_REST / 60 + 2:.0f} min")
    await asyncio.sleep(_REST)
    rested = time.time()
    while True:
        heap = await asyncio.to_thread(live_heap, store.record["nats"]["monitor_url"])
        if heap.collected > rested:
            return Rest(begin, time.monotonic() - start, heap.size)
        await asyncio.sleep(1)


async def _keep_reading(
    store: Store, traffic: Traffic, readings: list[Reading], start: float, say: Callable[[str], None]
) -> None:
    minute = 0
    while True:
        await asyncio.sleep(_READING_INTERVAL)
        readings.append(await asyncio.to_thread(_read, store, time.monotonic() - start))
        if time.monotonic() - start >= (minute + 1) * 60:
            minute += 1
            used = ", ".join(f"{name} {size / MEGABYTE:.1f}" for name, size in readings[-1].memory.items())
            say(f"{minute} min: {traffic.requests:,} requests, {traffic.failed} failed; MB: {used}")
