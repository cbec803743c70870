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
    service = DatabaseService(
        "payments",
        settings,
        events=PAYMENT_EVENTS,
        consumes=(PAYMENT_COMMANDS, KEYED_PAYMENT_COMMANDS, USER_EVENTS),
        inbox=inbox,
        remembers=PAYMENTS_CREATE_PAYMENT,
        max_remembered=settings.remembered_keys,
        migrations=MIGRATIONS,
    )
    service.broker.include_routers(requests.router, commands.router, events.router)

    async def find_bodies(stream: Stream, subjects: Collection[str]) -> dict[str, bytes]:
        return await last_bodies(service.broker.jetstream, stream, subjects)

    @asynccontextmanager
    async def connect() -> AsyncIterator[Dependencies]:
        yield Dependencies(
            open_payments=partial(Payments, service.pool),
            read_payments=partial(Payments, service.pool, autocommit=True),
            pending=PendingPayments(find_bodies),
            payment_limit=settings.payment_limit,
        )

    specification = ServiceSpecification(
        "payments", apps.payments.__doc__, publishes=[PaymentCreated, PaymentRejected], refusals=COMMON_REFUSALS
    )
    return service.app(specification, connect, deps)


app = create_app(load(Settings))
