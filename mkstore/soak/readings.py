"""What the processes of a store use at one time, and how it changes."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import combinations
from statistics import median
from typing import Any

import psutil

MEGABYTE = 1_000_000
SLOPE_SECONDS = 600
"""Slopes are per ten minutes."""


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


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Return the growth per second: the median of the slopes of all pairs (Theil and Sen), 0 for less than two points.

    A single step, or a reading during a peak, changes it little.
    """
    slopes = [(late - early) / (end - start) for (start, early), (end, late) in combinations(points, 2) if end > start]
    return median(slopes) if slopes else 0.0


def growth(readings: Sequence[Reading], name: str) -> float:
    """Return the growth of a process in megabytes per ten minutes."""
    points = [(one.at, one.memory[name] / MEGABYTE) for one in readings if name in one.memory]
    return slope(points) * SLOPE_SECONDS
