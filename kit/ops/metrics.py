"""Metrics of a service in the Prometheus text format at `/metrics`.

Every gauge is read during the scrape, so all workers report the same values, except for gauges with a `pid` label.
A gauge that cannot be read in time is left out: a scrape neither fails nor waits for an unavailable dependency.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from faststream.asgi import AsgiResponse, get
from faststream.asgi.types import ASGIApp
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.stdlib import get_logger

from kit.messaging.broker import Broker
from kit.ops import backlog
from kit.outbox.relay import Relay

log = get_logger(__name__)

READ_TIMEOUT = 1.0

Gauges = Sequence[GaugeMetricFamily]
Source = Callable[[], Awaitable[Gauges]]
"""Reads a group of gauges; may raise any error."""


class _Read(Collector):
    def __init__(self, gauges: Iterable[GaugeMetricFamily]) -> None:
        self._gauges = list(gauges)

    def collect(self) -> Iterable[GaugeMetricFamily]:
        return self._gauges


class Metrics:
    """The gauges of one process; all sources are read concurrently, each with a timeout in seconds."""

    def __init__(self, *sources: Source, timeout: float = READ_TIMEOUT) -> None:
        self._sources = sources
        self._timeout = timeout

    async def text(self) -> bytes:
        """Read every gauge and return the exposition."""
        registry = CollectorRegistry()
        read = await asyncio.gather(*(self._read(source) for source in self._sources))
        registry.register(_Read(gauge for gauges in read for gauge in gauges))
        return generate_latest(registry)

    def routes(self) -> list[tuple[str, ASGIApp]]:
        """Return `/metrics`, always 200."""

        @get(include_in_schema=False)
        async def metrics(_: dict[str, Any]) -> AsgiResponse:
            return AsgiResponse(await self.text(), 200, {"content-type": CONTENT_TYPE_LATEST})

        return [("/metrics", metrics)]

    async def _read(self, source: Source) -> Gauges:
        try:
            async with asyncio.timeout(self._timeout):
                return await source()
        except Exception as error:  # noqa: BLE001 - the other gauges are still reported
            log.debug("metrics left out", reason=str(error) or type(error).__name__)
            return []


def outbox_gauges(pool: AsyncEngine) -> Source:
    """Return gauges of the outbox: rows, age of the oldest, refused events, and number of relays."""

    async def read() -> Gauges:
        measured, leaders = await backlog.measure_outbox(pool), await backlog.count_relays(pool)
        return [
            GaugeMetricFamily("mkstore_outbox_rows", "Events committed but not yet published.", measured.rows),
            GaugeMetricFamily(
                "mkstore_outbox_oldest_seconds", "Age of the oldest event in the outbox.", measured.oldest_seconds
            ),
            GaugeMetricFamily("mkstore_outbox_refused", "Events that NATS refused for good.", measured.refused),
            GaugeMetricFamily("mkstore_outbox_leaders", "Processes that relay the outbox: at most one.", leaders),
        ]

    return read


def relay_gauges(relay: Relay) -> Source:
    """Return a gauge of whether this process relays the outbox, labelled with its pid: any worker may reply."""

    async def read() -> Gauges:
        gauge = GaugeMetricFamily(
            "mkstore_outbox_leads", "Whether the process that replies relays the outbox.", labels=["pid"]
        )
        gauge.add_metric([str(os.getpid())], float(relay.leads))
        return [gauge]

    return read


def dead_letter_gauges(broker: Broker) -> Source:
    """Return a gauge of the dead letters."""

    async def read() -> Gauges:
        count = await backlog.count_dead_letters(broker)
        return [GaugeMetricFamily("mkstore_dead_letters", "Messages in the dead-letter queue.", count)]

    return read
