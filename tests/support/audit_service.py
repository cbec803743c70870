"""A service with one durable consumer, as the author of a new service would write it in a test."""

from collections.abc import Callable

from contracts.consumers import Durable
from contracts.payments import PaymentCreated
from contracts.streams import PAYMENT_EVENTS
from kit.inbox import InboxKey
from kit.messaging.broker import Broker
from kit.messaging.consumers import DurableRouter
from kit.messaging.delivery.inbox_key import MessageInboxKey
from mkstore.testing import BuildService, ServiceInMemory, Surroundings

AUDIT = Durable("audit-note_payment", PaymentCreated, PAYMENT_EVENTS)
Note = Callable[[PaymentCreated, InboxKey], None]


class Notes:
    """A handler that remembers payments, after it has raised the `failures`."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.payments: list[str] = []
        self.keys: list[InboxKey] = []
        """The inbox key of each attempt."""

    def __call__(self, event: PaymentCreated, key: InboxKey) -> None:
        self.keys.append(key)
        if self.failures:
            raise self.failures.pop(0)
        self.payments.append(str(event.payment.id))


def audit_router(note: Note) -> DurableRouter:
    """Return a router that calls `note` with each created payment."""
    router = DurableRouter()

    @router.consume(AUDIT)
    async def note_payment(event: PaymentCreated, key: MessageInboxKey) -> None:
        note(event, key)

    return router


def audit(note: Note) -> BuildService:
    """Return the service for a store in memory."""

    def build(_: Surroundings) -> ServiceInMemory:
        broker = Broker("nats://127.0.0.1:1", name="audit")
        broker.include_router(audit_router(note))
        return ServiceInMemory(broker)

    return build
