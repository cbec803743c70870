"""What a service counts, in Prometheus' text format at `/metrics`.

All of it is read while it is asked for, so it is the same whichever worker answers, except what says which process it
is about. What cannot be read in time is left out: a scrape neither fails nor waits for a dependency that is away.
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

_DEADLINE = 1.0

Gauges = Sequence[GaugeMetricFamily]
Source = Callable[[], Awaitable[Gauges]]
"""Reads some gauges together; raises what it likes when it cannot."""


class _Read(Collector):
    def __init__(self, gauges: Iterable[GaugeMetricFamily]) -> None:
        self._gauges = list(gauges)

    def collect(self) -> Iterable[GaugeMetricFamily]:
        return self._gauges


class Metrics:
    """The gauges of one process; each source gets a second, all at the same time."""

    def __init__(self, *sources: Source) -> None:
        self._sources = sources

    async def text(self) -> bytes:
        """Read everything and write it down."""
        registry = CollectorRegistry()
        read = await asyncio.gather(*(_read(source) for source in self._sources))
        registry.register(_Read(gauge for gauges in read for gauge in gauges))
        return generate_latest(registry)

    def routes(self) -> list[tuple[str, ASGIApp]]:
        """Return `/metrics`, always 200."""

        @get(include_in_schema=False)
        async def metrics(_: dict[str, Any]) -> AsgiResponse:
            return AsgiResponse(await self.text(), 200, {"content-type": CONTENT_TYPE_LATEST})

        return [("/metrics", metrics)]


async def _read(source: Source) -> Gauges:
    try:
        async with asyncio.timeout(_DEADLINE):
            return await source()
    except Exception as error:  # noqa: BLE001 - whatever it is, the other gauges are there
        log.debug("not measured", reason=str(error) or type(error).__name__)
        return []


def of_outbox(pool: AsyncEngine) -> Source:
    """Measure what waits in a service's outbox, and whether somebody sends it."""

    async def read() -> Gauges:
        found, leaders = await backlog.outbox(pool), await backlog.relays(pool)
        return [
            GaugeMetricFamily("mkstore_outbox_rows", "Events that are committed and not sent yet.", found.rows),
            GaugeMetricFamily(
                "mkstore_outbox_oldest_seconds", "How long ago the first of them happened.", found.oldest_seconds
            ),
            GaugeMetricFamily("mkstore_outbox_leaders", "Processes that send them: one of all replicas.", leaders),
        ]

    return read


def of_relay(relay: Relay) -> Source:
    """Tell whether this very process sends, by its id: with several workers any of them may be asked."""

    async def read() -> Gauges:
        gauge = GaugeMetricFamily(
            "mkstore_outbox_leads", "Whether the process that was asked is the one that sends.", labels=["pid"]
        )
        gauge.add_metric([str(os.getpid())], float(relay.leads))
        return [gauge]

    return read


def of_dead_letters(broker: Broker) -> Source:
    """Count what was given up."""

    async def read() -> Gauges:
        count = await backlog.dead_letters(broker)
        return [GaugeMetricFamily("mkstore_dead_letters", "Messages that were given up and wait for a person.", count)]

    return read
