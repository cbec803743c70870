"""Gauges that are read from the database and the streams of a service during a scrape."""

import os

from prometheus_client.core import GaugeMetricFamily
from sqlalchemy.ext.asyncio import AsyncEngine

from kit.messaging.broker import Broker, durables
from kit.ops import backlog
from kit.ops.copies import count_copies
from kit.ops.metrics import Gauges, Source
from kit.outbox.relay import Relay


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


def copies_gauges(pool: AsyncEngine, wanted: int) -> Source:
    """Return gauges of the copies of each commit, and of those that there have to be."""

    async def read() -> Gauges:
        return [
            GaugeMetricFamily("mkstore_database_copies", "Copies of each commit.", await count_copies(pool)),
            GaugeMetricFamily("mkstore_database_copies_wanted", "Copies of each commit that DB_COPIES wants.", wanted),
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


def consumer_gauges(broker: Broker) -> Source:
    """Return gauges of durable consumers: what waits, what is in progress, and what was delivered again."""

    async def read() -> Gauges:
        names = ["consumer"]
        waiting = GaugeMetricFamily("mkstore_consumer_pending", "Messages not yet delivered.", labels=names)
        in_progress = GaugeMetricFamily(
            "mkstore_consumer_ack_pending", "Messages delivered and not yet acknowledged.", labels=names
        )
        again = GaugeMetricFamily(
            "mkstore_consumer_redelivered", "Unacknowledged messages delivered more than once.", labels=names
        )
        for stream, config in durables(broker.subscribers):
            consumer = config.durable_name or ""
            info = await broker.jetstream.consumer_info(stream, consumer)
            waiting.add_metric([consumer], info.num_pending or 0)
            in_progress.add_metric([consumer], info.num_ack_pending or 0)
            again.add_metric([consumer], info.num_redelivered or 0)
        return [waiting, in_progress, again]

    return read
