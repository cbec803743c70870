"""Metrics of a service in the Prometheus text format at `/metrics`.

Counts, durations and levels are those of `kit.runtime.measurements`. With `PROMETHEUS_MULTIPROC_DIR`, a folder that is
empty when the service starts, each has the sum or the maximum of all workers; without it, the values of the worker that
replies. What a database or a stream knows is read during the scrape. It is left out if it cannot be read in time: a
scrape neither fails nor waits for an unavailable dependency.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from faststream.asgi import AsgiResponse, get
from faststream.asgi.types import ASGIApp
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector
from structlog.stdlib import get_logger

from kit.runtime.measurements import Level, maximum_of_processes
from kit.runtime.periodic import Periodic

log = get_logger(__name__)

READ_TIMEOUT = 1.0
_SAMPLE_INTERVAL = 1.0
"""Seconds between two readings of the levels of a process."""
_LOOP_LAG = maximum_of_processes(
    "mkstore_event_loop_lag_seconds", "How much later than planned the event loop did its work, in the last second."
)

Gauges = Sequence[GaugeMetricFamily]
Source = Callable[[], Awaitable[Gauges]]
"""Reads a group of gauges; may raise any error."""


class _Read(Collector):
    def __init__(self, gauges: Iterable[GaugeMetricFamily]) -> None:
        self._gauges = list(gauges)

    def collect(self) -> Iterable[GaugeMetricFamily]:
        return self._gauges


class Metrics:
    """The metrics of one process; all sources are read concurrently, each with a timeout in seconds.

    `sampling` is background work that reads the levels; it runs while the process serves.
    """

    def __init__(self, *sources: Source, levels: Sequence[Level] = (), timeout: float = READ_TIMEOUT) -> None:
        self._sources = sources
        self._levels = levels
        self._timeout = timeout
        self._due = 0.0
        self.sampling = Periodic(self._sample, _SAMPLE_INTERVAL, log=log, failure="levels not read")

    async def text(self) -> bytes:
        """Read every gauge and return the exposition."""
        self._set_levels()
        registry = CollectorRegistry()
        read = await asyncio.gather(*(self._read(source) for source in self._sources))
        registry.register(_Read(gauge for gauges in read for gauge in gauges))
        return _of_all_workers() + generate_latest(registry)

    def routes(self) -> list[tuple[str, ASGIApp]]:
        """Return `/metrics`, always 200."""

        @get(include_in_schema=False)
        async def metrics(_: dict[str, Any]) -> AsgiResponse:
            return AsgiResponse(await self.text(), 200, {"content-type": CONTENT_TYPE_LATEST})

        return [("/metrics", metrics)]

    async def _sample(self) -> None:
        now = asyncio.get_running_loop().time()
        _LOOP_LAG.set(max(0.0, now - self._due) if self._due else 0.0)
        self._due = now + _SAMPLE_INTERVAL
        self._set_levels()

    def _set_levels(self) -> None:
        for gauge, read in self._levels:
            gauge.set(read())

    async def _read(self, source: Source) -> Gauges:
        try:
            async with asyncio.timeout(self._timeout):
                return await source()
        except Exception as error:  # noqa: BLE001 - the other gauges are still reported
            log.debug("metrics left out", reason=str(error) or type(error).__name__)
            return []


def _of_all_workers() -> bytes:
    """Return the exposition of what this process, or all workers of the service, have counted."""
    registry = CollectorRegistry()
    try:
        collector = MultiProcessCollector(registry)  # type: ignore[no-untyped-call] # it reads the variable
    except ValueError:  # which is not set
        return generate_latest(REGISTRY)
    folder = collector._path  # noqa: SLF001
    for file in Path(folder).glob("gauge_live*_*.db"):
        pid = int(file.stem.rpartition("_")[2])
        if not _is_alive(pid):  # it was killed, and its levels do not count any more
            mark_process_dead(pid, folder)  # type: ignore[no-untyped-call]
    return generate_latest(registry)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it lives, as another user
    return True
