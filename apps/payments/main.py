"""Composition root of the payments service: `faststream run apps.payments.main:app`."""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import apps.payments
from apps.payments import commands, events, requests
from apps.payments.deps import Dependencies
from apps.payments.models import inbox
from apps.payments.pending import PendingPayments
from apps.payments.repository import Payments
from apps.payments.settings import Settings
from apps.payments.shards import check_shard
from contracts.consumers import PAYMENTS_CREATE_PAYMENT
from contracts.payments import PaymentCreated, PaymentRejected
from contracts.streams import KEYED_PAYMENT_COMMANDS, PAYMENT_COMMANDS, PAYMENT_EVENTS, USER_EVENTS, Stream
from kit.asyncapi.specification import ServiceSpecification
from kit.errors import COMMON_REFUSALS
from kit.messaging.reader import last_bodies
from kit.ops.service import DatabaseService
from kit.runtime.app import ServiceApp
from kit.runtime.settings import load

MIGRATIONS = Path(__file__).with_name("migrations")


def create_app(settings: Settings, deps: Dependencies | None = None) -> ServiceApp:
    """Build the payments service; nothing is connected before it starts. Tests pass fakes as `deps`."""
    shard = settings.own_shard()
    service = DatabaseService(
        "payments",
        settings,
        events=PAYMENT_EVENTS,
        consumes=(PAYMENT_COMMANDS, KEYED_PAYMENT_COMMANDS, USER_EVENTS),
        inbox=inbox,
        remembers=PAYMENTS_CREATE_PAYMENT,
        max_remembered=settings.remembered_keys,
        migrations=MIGRATIONS,
        shard=shard,
    )
    routers = [router.of(shard) for router in (requests.router, commands.router, events.router)]
    service.broker.include_routers(*routers, events.copies_for(shard))
    read_payments = partial(Payments, service.pool, autocommit=True, shard=shard)

    async def find_bodies(stream: Stream, subjects: Collection[str]) -> dict[str, bytes]:
        return await last_bodies(service.broker.jetstream, stream, subjects, replicas=settings.stream_replicas)

    @asynccontextmanager
    async def connect() -> AsyncIterator[Dependencies]:
        yield Dependencies(
            open_payments=partial(Payments, service.pool, shard=shard),
            read_payments=read_payments,
            pending=PendingPayments(find_bodies, shard),
            payment_limit=settings.payment_limit,
        )

    specification = ServiceSpecification(
        "payments", apps.payments.__doc__, publishes=[PaymentCreated, PaymentRejected], refusals=COMMON_REFUSALS
    )
    checks = {"shard": partial(check_shard, read_payments, shard)} if shard.count > 1 else {}
    return service.app(specification, connect, deps, checks=checks)


app = create_app(load(Settings))
