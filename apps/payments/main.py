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
from kit import backlog, database, metrics, streams
from kit.asyncapi import Documented
from kit.broker import Broker
from kit.discovery import Discovery
from kit.durability import Durability
from kit.failpoints import arm
from kit.gathering import Gather
from kit.health import Health
from kit.inbox import Sweeper
from kit.logging import configure_logging
from kit.metrics import Metrics
from kit.relay import Relay
from kit.retrying import Retrying
from kit.service import Service
from kit.settings import load
from kit.starting import wait_for_database

MIGRATIONS = Path(__file__).parent / "migrations"


def create_app(settings: Settings) -> Service:
    """Build the whole service; nothing is connected before it is started."""
    configure_logging(settings.log_level, settings.log_format)
    arm(settings.failpoints, "payments")
    pool = database.engine(settings)
    open_payments = partial(Payments, pool)
    broker = Broker(
        settings.nats_url,
        name="payments",
        streams=[PAYMENT_COMMANDS, PAYMENT_EVENTS, USER_EVENTS, DEAD_LETTERS],
        replicas=settings.stream_replicas,
    )
    broker.include_routers(requests.router, commands.router, events.router)
    relay = Relay(database.url(settings), broker, source_of("payments"), PAYMENT_EVENTS)
    durability = Durability.of(broker, settings, partial(database.now, pool))
    health = Health(
        {"nats": broker.check, "database": partial(database.ping, pool), "outbox": relay.check},
        advice=durability.checks()
        | {
            "outbox-lag": partial(backlog.check_outbox, pool, settings.outbox_lag_warning),
            "dead-letters": partial(backlog.check_dead_letters, broker),
        },
    )
    measured = Metrics(metrics.of_outbox(pool), metrics.of_relay(relay), metrics.of_dead_letters(broker))

    async def find_waiting(payment_id: UUID) -> CreatePayment | None:
        # What was given up is still owed to the one who was told 202; and it may be sent again between two looks.
        for stream in (PAYMENT_COMMANDS, DEAD_LETTERS, PAYMENT_COMMANDS):
            if command := await streams.find(broker.jetstream, stream, CreatePayment, payment_id):
                return command
        return None

    sweeper = Sweeper(pool, inbox, timedelta(days=settings.inbox_keep_days))
    retrying = Retrying(settings.delivery_attempts, settings.delivery_first_pause, settings.delivery_longest_pause)

    @asynccontextmanager
    async def lifespan(context: ContextRepo) -> AsyncIterator[None]:
        context.set_global("open_payments", open_payments)
        context.set_global("retrying", retrying)
        context.set_global("find_waiting", find_waiting)
        context.set_global("learn", Gather(partial(events.learn_all, open_payments), in_flight=1))
        context.set_global("record", Gather(partial(commands.record_all, open_payments, settings.payment_limit)))
        await wait_for_database(pool, MIGRATIONS)
        await durability.before_start()
        yield
        await pool.dispose()

    documented = Documented("payments", apps.payments.__doc__, sends=[PaymentCreated, PaymentRejected])
    discovery = Discovery(broker, "payments", documented, settings.asyncapi_url)
    return Service(
        broker,
        asgi_routes=[*health.routes(), *measured.routes()],
        lifespan=lifespan,
        after_startup=[relay.start, sweeper.start, discovery.start, durability.look],
        on_shutdown=[discovery.stop, relay.stop, sweeper.stop],
        specification=documented,
        logger=None,
    )


app = create_app(load(Settings))
