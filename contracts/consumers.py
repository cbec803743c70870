"""The durable consumers: their names on the NATS server, which must not change while messages wait for them."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from contracts.base import DurableCommand, Event
from contracts.payments import CreatePayment, CreatePayments, PaymentCreated, PaymentRejected
from contracts.shards import ALL_IN_ONE, Shard, Shards
from contracts.streams import KEYED_PAYMENT_COMMANDS, PAYMENT_COMMANDS, PAYMENT_EVENTS, USER_EVENTS, Stream, is_sharded
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
    subject: str = ""
    """The subject of its messages; that of their contract unless it is set."""

    def __post_init__(self) -> None:
        """Set the default subject."""
        object.__setattr__(self, "subject", self.subject or self.message.subject)

    @property
    def service(self) -> str:
        """The service that consumes."""
        return self.name.partition("-")[0]

    def of(self, shard: Shard) -> "Durable":
        """Return this consumer of a shard, which has a separate one also on a stream that is not sharded."""
        stream, name = place_of(self.stream, self.name, shard)
        subject = shard.subject(self.subject) if self.stream.sharded else self.subject
        return replace(self, name=name, stream=stream, subject=subject)


def place_of(stream: Stream, name: str, shard: Shard) -> tuple[Stream, str]:
    """Return the stream and the name of a durable consumer of a shard, from those of its contract."""
    return stream.of(shard), shard.suffixed(name, "-") if is_sharded(f"{name.partition('-')[0]}.*") else name


def durables(shards: Shards = ALL_IN_ONE) -> tuple[Durable, ...]:
    """Return every durable consumer of this module, of all shards; `mkstore provision` creates them.

    A service without shards cannot consume events of several shards yet: it has no such consumer.
    """
    named = [each for each in globals().values() if isinstance(each, Durable)]
    if shards.count > 1:
        named = [each for each in named if is_sharded(f"{each.service}.*") or not each.stream.sharded]
    of_shards = [durable for shard in shards.all for durable in (*(each.of(shard) for each in named), *copying(shard))]
    return tuple(dict.fromkeys(of_shards))


def copying(shard: Shard) -> Iterable[Durable]:
    """Yield the consumers with which a shard copies the payments of its payers from the other shards.

    An admin's payment for another user belongs to the shard of the admin; it is copied to that of the payer.
    """
    for source in Shards(shard.count).all:
        if source == shard:
            continue
        for event in (PaymentCreated, PaymentRejected):
            what = event.subject.partition(".")[2]
            yield Durable(
                f"payments-copy_{what}-{shard.name}-from-{source.name}",
                event,
                PAYMENT_EVENTS.of(source),
                subject=f"{source.subject(event.subject)}.{shard.name}",
            )


PAYMENTS_CREATE_PAYMENT = Durable("payments-create_payment", CreatePayment, KEYED_PAYMENT_COMMANDS)
PAYMENTS_CREATE_PAYMENTS = Durable("payments-create_payments", CreatePayments, PAYMENT_COMMANDS, at_once=20)
PAYMENTS_OPEN_PAYER = Durable("payments-open_payer", UserCreated, USER_EVENTS)
PAYMENTS_CHANGE_PAYER = Durable("payments-change_payer", UserUpdated, USER_EVENTS)
PAYMENTS_CLOSE_PAYER = Durable("payments-close_payer", UserDeleted, USER_EVENTS)
