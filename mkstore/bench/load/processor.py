"""Processor time and memory of the processes of each part of a contender."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

import psutil


@dataclass(frozen=True)
class Memory:
    """Memory in bytes: resident, and proportional (a page that n processes share counts 1/n for each)."""

    rss: int
    pss: int


def processor_times(parts: Mapping[str, int]) -> dict[str, float]:
    """Return the seconds of processor time that each part has used, from the pids of their first processes.

    Children count, those that have ended too.
    """
    return {part: sum(map(_seconds, _processes(pid))) for part, pid in parts.items()}


def memory(parts: Mapping[str, int]) -> dict[str, Memory]:
    """Return the memory of each part, children included."""
    return {part: _sum(_processes(pid)) for part, pid in parts.items()}


def _processes(pid: int) -> Iterator[psutil.Process]:
    with suppress(psutil.Error):
        first = psutil.Process(pid)
        yield first
        yield from first.children(recursive=True)


def _seconds(process: psutil.Process) -> float:
    with suppress(psutil.Error):
        times = process.cpu_times()
        return float(times.user + times.system + times.children_user + times.children_system)
    return 0.0


def _sum(processes: Iterator[psutil.Process]) -> Memory:
    rss = pss = 0
    for process in processes:
        with suppress(psutil.Error):
            full = process.memory_full_info()
            rss, pss = rss + full.rss, pss + getattr(full, "pss", full.rss)
    return Memory(rss, pss)
