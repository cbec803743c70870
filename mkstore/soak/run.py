"""The run: a store, traffic for some minutes, and readings every few seconds."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from kit.runtime.tasks import cancel_and_wait
from mkstore.bench.contenders.stores import LIMITS_OFF, store_target
from mkstore.chaos.store import PROCESSES, Store
from mkstore.chaos.temporary_store import Kind, running
from mkstore.soak.readings import MEGABYTE, Growth, Reading, growth, read
from mkstore.soak.traffic import Traffic

MAX_GROWTH = 1.0
"""Megabytes of private memory per ten minutes by which a process may grow after the warm-up, if it grows at all."""
MAX_FILES = 20
"""Open files that a process may have more after the load than before it: pools of connections grow to their size."""
_USERS = 1000
_WARM_UP_SHARE, _MAX_WARM_UP = 0.25, 360.0
_READING_INTERVAL = 5.0
_FIRST_LOAD, _SETTLING_TIME = 5.0, 5.0
_REMEMBERED_KEYS = 5000
"""So few that their number is constant after the warm-up. nats-server keeps an index of them in memory, 0.2 MB for a
thousand, which the default of a million would let grow for 14 hours."""
_SETTINGS = {**LIMITS_OFF, "FAILPOINTS": "", "REMEMBERED_KEYS": str(_REMEMBERED_KEYS)}


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

    @property
    def warm_up(self) -> float:
        """Seconds after which memory is compared."""
        return min(_MAX_WARM_UP, self.minutes * 60 * _WARM_UP_SHARE)

    @property
    def growth(self) -> dict[str, Growth]:
        """The growth after the warm-up, by process."""
        compared = [reading for reading in self.readings if reading.at >= self.warm_up]
        return {name: growth(compared, name) for name in self.before.memory}

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
        reading = asyncio.create_task(_keep_reading(store, traffic, readings, say))
        try:
            await traffic.run(rate, minutes * 60)
        finally:
            await cancel_and_wait([reading])
        await asyncio.sleep(_SETTLING_TIME)
        return Soaked(minutes, rate, traffic, readings, before, _read(store, minutes * 60))


def _read(store: Store, at: float) -> Reading:
    return read(store.record, PROCESSES, at)


async def _keep_reading(store: Store, traffic: Traffic, readings: list[Reading], say: Callable[[str], None]) -> None:
    loop = asyncio.get_running_loop()
    start, minute = loop.time(), 0
    while True:
        await asyncio.sleep(_READING_INTERVAL)
        readings.append(await asyncio.to_thread(_read, store, loop.time() - start))
        if loop.time() - start >= (minute + 1) * 60:
            minute += 1
            used = ", ".join(f"{name} {size / MEGABYTE:.1f}" for name, size in readings[-1].memory.items())
            say(f"{minute} min: {traffic.requests:,} requests, {traffic.failed} failed; MB: {used}")
