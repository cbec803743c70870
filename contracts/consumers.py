"""The durable consumers: their names on the NATS server, which must not change while messages wait for them."""

from dataclasses import dataclass

from contracts.base import DurableCommand, Event
from contracts.payments import CreatePayment, CreatePayments
from contracts.streams import KEYED_PAYMENT_COMMANDS, PAYMENT_COMMANDS, USER_EVENTS, Stream
from contracts.users import UserCreated, UserDeleted, UserUpdated


@dataclass(frozen=True)
class Durable:
    """A durable consumer, shared by all replicas of one service: its name, its message, and the message's stream."""

    name: str
    """The service, a hyphen, and what it does."""
    message: type[DurableCommand | Event]
    stream: Stream
    at_once: int = 100
    """Messages that one process requests at once."""

    @property
    def service(self) -> str:
        """The service that consumes."""
        return self.name.partition("-")[0]


def durables() -> tuple[Durable, ...]:
    """Return every durable consumer of this module; `mkstore provision` creates them."""
    return tuple(each for each in globals().values() if isinstance(each, Durable))


PAYMENTS_CREATE_PAYMENT = Durable("payments-create_payment", CreatePayment, KEYED_PAYMENT_COMMANDS)
PAYMENTS_CREATE_PAYMENTS = Durable("payments-create_payments", CreatePayments, PAYMENT_COMMANDS, at_once=20)
PAYMENTS_OPEN_PAYER = Durable("payments-open_payer", UserCreated, USER_EVENTS)
PAYMENTS_CHANGE_PAYER = Durable("payments-change_payer", UserUpdated, USER_EVENTS)
PAYMENTS_CLOSE_PAYER = Durable("payments-close_payer", UserDeleted, USER_EVENTS)
