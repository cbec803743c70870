"""What the processes of a store use at one time, and how it changes."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import combinations
from math import sqrt
from statistics import mean, median
from typing import Any, NamedTuple, TypeAlias

import httpx
import psutil

MEGABYTE = 1_000_000
SLOPE_SECONDS = 600
"""Slopes are per ten minutes."""
_SECTIONS = 20
_NORMAL_95 = 1.96

Point: TypeAlias = tuple[float, float]
"""A time in seconds, and a value."""


@dataclass(frozen=True)
class Reading:
    """Use by process; PostgreSQL is one entry for all of its processes, one for each connection.

    Pools connect when they need to, so only the mean of these processes shows whether they grow.
    """

    at: float
    """Seconds since the begin of the load."""
    memory: Mapping[str, int]
    """Private bytes (USS): what ends with the process; of PostgreSQL the mean. Shared buffers do not count."""
    files: Mapping[str, int]
    """Open files, connections among them; of PostgreSQL the number of its processes."""


def read(record: Mapping[str, Any], names: Sequence[str], at: float) -> Reading:
    """Read the processes that a run file names; one that has ended is left out."""
    memory: dict[str, int] = {}
    files: dict[str, int] = {}
    for name, processes in _processes(record, names):
        with suppress(psutil.NoSuchProcess):
            memory[name] = sum(process.memory_full_info().uss for process in processes) // len(processes)
            files[name] = processes[0].num_fds() if len(processes) == 1 else len(processes)
    return Reading(at, memory, files)


def _processes(record: Mapping[str, Any], names: Sequence[str]) -> Iterator[tuple[str, list[psutil.Process]]]:
    for name in names:
        part = record[name]
        with suppress(psutil.NoSuchProcess):
            if name == "postgres":
                first = psutil.Process(part["pid"])
                yield name, [first, *first.children(recursive=True)]
            elif len(part.get("pids", ())) > 1:
                yield f"{name} supervisor", [psutil.Process(part["pid"])]
                for number, pid in enumerate(part["pids"], 1):
                    yield f"{name} {number}", [psutil.Process(pid)]
            else:
                yield name, [psutil.Process(part["pid"])]


class LiveHeap(NamedTuple):
    """What a program in Go needs: its memory right after a garbage collection."""

    size: int
    """Bytes."""
    collected: float
    """When garbage was collected, in Unix time; 0 if never."""


def live_heap(monitor_url: str) -> LiveHeap:
    """Return the live heap of a nats-server. Raises `httpx.HTTPError` if it does not answer.

    The next collection begins when the heap is twice what was live after the last one (`GOGC=100`), so half of that
    size is what was live, with half of the stacks.
    """
    figures = httpx.get(f"{monitor_url}/debug/vars", trust_env=False).raise_for_status().json()["memstats"]
    return LiveHeap(figures["NextGC"] // 2, figures["LastGC"] / 1e9)


class Growth(NamedTuple):
    """Megabytes per ten minutes by which a process grows, and their 95 % interval."""

    rate: float
    low: float
    high: float

    def __str__(self) -> str:
        """Return such as `0.75 (0.72 to 0.83)`."""
        return f"{self.rate:.2f} ({self.low:.2f} to {self.high:.2f})"


def growth(readings: Sequence[Reading], name: str) -> Growth:
    """Return the growth of a process: Sen's slope of the means of `_SECTIONS` sections, and its interval.

    A garbage collector lets memory rise and fall within minutes. Single readings depend on each other then, and their
    interval would be too narrow.
    """
    points = [(one.at, one.memory[name] / MEGABYTE * SLOPE_SECONDS) for one in readings if name in one.memory]
    size = -(-len(points) // _SECTIONS) or 1
    return Growth(*slope([_mean(points[start : start + size]) for start in range(0, len(points), size)]))


def slope(points: Sequence[Point]) -> tuple[float, float, float]:
    """Return the median of the slopes of all pairs of points, and its 95 % interval (Sen, 1968); 0 without a pair.

    A single step, or a point in a peak, changes it little.
    """
    slopes = sorted(
        (late - early) / (end - start) for (start, early), (end, late) in combinations(points, 2) if end > start
    )
    if not slopes:
        return 0.0, 0.0, 0.0
    number = len(points)
    half = _NORMAL_95 * sqrt(number * (number - 1) * (2 * number + 5) / 18)
    low, high = int((len(slopes) - half) / 2), int((len(slopes) + half) / 2) + 1
    return median(slopes), slopes[max(low, 0)], slopes[min(high, len(slopes) - 1)]


def _mean(points: Sequence[Point]) -> Point:
    return mean(at for at, _ in points), mean(size for _, size in points)
