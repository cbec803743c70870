"""Composition root of the payments service: `faststream run apps.payments.main:app`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from uuid import UUID

from faststream import ContextRepo

import apps.payments
from apps.payments import commands, events, requests
from apps.payments.models import inbox
from apps.payments.repository import Payments
from apps.payments.settings import Settings
from contracts.headers import source_of
from contracts.payments import CreatePayment, PaymentCreated, PaymentRejected
from contracts.streams import DEAD_LETTERS, PAYMENT_COMMANDS, PAYMENT_EVENTS, USER_EVENTS
from kit import database
from kit.asyncapi import ServiceSpecification
from kit.batching import BatchLoader
from kit.inbox import InboxCleaner
from kit.messaging import streams
from kit.messaging.broker import Broker
from kit.messaging.discovery import Discovery
from kit.messaging.retry import RetryPolicy
from kit.ops import backlog, metrics
from kit.ops.durability import Durability
from kit.ops.health import Health
from kit.ops.metrics import Metrics
from kit.ops.schema import wait_for_database
from kit.outbox.relay import Relay
from kit.runtime.app import ServiceApp
from kit.runtime.failpoints import arm
from kit.runtime.logging import configure_logging
from kit.runtime.settings import load

MIGRATIONS = Path(__file__).parent / "migrations"


def create_app(settings: Settings) -> ServiceApp:
    """Build the whole service; nothing is connected before it is started."""
    configure_logging(settings.log_level, settings.log_format)
    arm(settings.failpoints, "payments")
    pool = database.create_engine(settings)
    open_payments = partial(Payments, pool)
    broker = Broker(
        settings.nats_url,
        name="payments",
        streams=[PAYMENT_COMMANDS, PAYMENT_EVENTS, USER_EVENTS, DEAD_LETTERS],
        replicas=settings.stream_replicas,
    )
    broker.include_routers(requests.router, commands.router, events.router)
    relay = Relay(database.url(settings), broker, source_of("payments"), PAYMENT_EVENTS)
    durability = Durability.of(broker, settings, partial(database.server_time, pool))
    health = Health(
        {"nats": broker.check, "database": partial(database.ping, pool), "outbox": relay.check},
        warnings=durability.checks()
        | {
            "outbox-lag": partial(backlog.check_outbox, pool, settings.outbox_lag_warning),
            "dead-letters": partial(backlog.check_dead_letters, broker),
        },
    )
    measured = Metrics(metrics.outbox_gauges(pool), metrics.relay_gauges(relay), metrics.dead_letter_gauges(broker))

    async def find_waiting(payment_id: UUID) -> CreatePayment | None:
        # What was given up is still owed to the one who was told 202; and it may be sent again between two looks.
        for stream in (PAYMENT_COMMANDS, DEAD_LETTERS, PAYMENT_COMMANDS):
            if command := await streams.find(broker.jetstream, stream, CreatePayment, payment_id):
                return command
        return None

    sweeper = InboxCleaner(pool, inbox, timedelta(days=settings.inbox_keep_days))
    retrying = RetryPolicy(settings.delivery_attempts, settings.delivery_first_delay, settings.delivery_max_delay)

    @asynccontextmanager
    async def lifespan(context: ContextRepo) -> AsyncIterator[None]:
        context.set_global("open_payments", open_payments)
        context.set_global("retrying", retrying)
        context.set_global("find_waiting", find_waiting)
        context.set_global("learn", BatchLoader(partial(events.learn_all, open_payments), in_flight=1))
        context.set_global("record", BatchLoader(partial(commands.record_all, open_payments, settings.payment_limit)))
        await wait_for_database(pool, MIGRATIONS)
        await durability.before_start()
        yield
        await pool.dispose()

    documented = ServiceSpecification("payments", apps.payments.__doc__, sends=[PaymentCreated, PaymentRejected])
    discovery = Discovery(broker, "payments", documented, settings.asyncapi_url)
    return ServiceApp(
        broker,
        asgi_routes=[*health.routes(), *measured.routes()],
        lifespan=lifespan,
        after_startup=[relay.start, sweeper.start, discovery.start, durability.log_findings],
        on_shutdown=[discovery.stop, relay.stop, sweeper.stop],
        specification=documented,
        logger=None,
    )


app = create_app(load(Settings))
