"""A service in memory with one handler, as the author of a new service would write it in a test."""

from collections.abc import Callable

from contracts.consumers import Durable
from contracts.payments import PaymentCreated
from contracts.streams import PAYMENT_EVENTS
from kit.messaging.broker import Broker
from kit.messaging.consumers import DurableRouter
from mkstore.testing import BuildService, ServiceInMemory, Surroundings

AUDIT = Durable("audit-note_payment", PaymentCreated, PAYMENT_EVENTS)


def audit(note: Callable[[PaymentCreated], None]) -> BuildService:
    """Return a service that calls `note` with each created payment."""

    def build(_: Surroundings) -> ServiceInMemory:
        router = DurableRouter()

        @router.consume(AUDIT)
        async def note_payment(event: PaymentCreated) -> None:
            note(event)

        broker = Broker("nats://127.0.0.1:1", name="audit")
        broker.include_router(router)
        return ServiceInMemory(broker)

    return build


class Notes:
    """A handler that remembers payments, after it has raised the `failures`."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.payments: list[str] = []

    def __call__(self, event: PaymentCreated) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.payments.append(str(event.payment.id))
