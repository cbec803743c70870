"""Composition root of the payments service: `faststream run apps.payments.main:app`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from uuid import UUID

import apps.payments
from apps.payments import commands, events, requests
from apps.payments.deps import Dependencies
from apps.payments.models import inbox
from apps.payments.repository import Payments
from apps.payments.settings import Settings
from contracts.payments import CreatePayment, PaymentCreated, PaymentRejected
from contracts.streams import DEAD_LETTERS, PAYMENT_COMMANDS, PAYMENT_EVENTS, USER_EVENTS
from kit.asyncapi.specification import ServiceSpecification
from kit.errors import COMMON_REFUSALS
from kit.messaging import streams
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
        consumes=(PAYMENT_COMMANDS, USER_EVENTS),
        inbox=inbox,
        migrations=MIGRATIONS,
    )
    service.broker.include_routers(requests.router, commands.router, events.router)

    async def find_pending(payment_id: UUID) -> CreatePayment | None:
        # A dead-lettered command is still pending; it may be replayed between two lookups, hence the third.
        for stream in (PAYMENT_COMMANDS, DEAD_LETTERS, PAYMENT_COMMANDS):
            if command := await streams.find(service.broker.jetstream, stream, CreatePayment, payment_id):
                return command
        return None

    @asynccontextmanager
    async def connect() -> AsyncIterator[Dependencies]:
        yield Dependencies(
            open_payments=partial(Payments, service.pool),
            read_payments=partial(Payments, service.pool, autocommit=True),
            find_pending=find_pending,
            payment_limit=settings.payment_limit,
        )

    specification = ServiceSpecification(
        "payments", apps.payments.__doc__, publishes=[PaymentCreated, PaymentRejected], refusals=COMMON_REFUSALS
    )
    return service.app(specification, connect, deps)


app = create_app(load(Settings))
