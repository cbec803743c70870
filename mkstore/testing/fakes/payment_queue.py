"""Fake of the gateway's `PaymentQueue`: the queue of payment commands in memory."""

from collections.abc import Iterator
from uuid import UUID

from apps.gateway.payments.batches import Assigned, NewCommand
from apps.gateway.payments.ids import BatchIds
from contracts.headers import REQUEST_ID
from contracts.payments import BatchedPayment, CreatePayment, CreatePayments
from contracts.shards import ALL_IN_ONE, Shards
from contracts.streams import KEYED_PAYMENT_COMMANDS, PAYMENT_COMMANDS, Stream, streams_of
from kit.errors import OutcomeUnknown, Unavailable
from kit.runtime.clock import SYSTEM_CLOCK
from kit.runtime.tracing import TRACEPARENT, Trace, trace
from mkstore.testing.deliveries import Stored
from mkstore.testing.streams import MemoryStreams

UNKEYED = 7
"""Version of the UUID of a payment without a key."""
_NO_TRACE = Trace()


class FakePaymentQueue:
    """The queue on the streams of a store in memory, or on new ones that nothing consumes; it remembers keyed commands.

    A payment without a key is always a batch of one, in the shard of its caller.
    """

    def __init__(self, streams: MemoryStreams | None = None, shards: Shards = ALL_IN_ONE) -> None:
        self._shards = shards
        self._streams = MemoryStreams(SYSTEM_CLOCK) if streams is None else streams
        self._recorded: list[Stored] = []
        self.refusal: Unavailable | OutcomeUnknown | None = None
        """Raised instead of storing a command."""

    async def publish(self, new: NewCommand, caller: UUID, assigned: Assigned) -> CreatePayment:
        command = new(BatchIds().next(caller))
        assigned(command.id)
        await self._add(command)
        return command

    async def publish_keyed(self, command: CreatePayment) -> bool:
        if not self.refusal and await self.find_keyed(command.id):
            return False
        await self._add(command)
        return True

    async def find_keyed(self, payment: UUID) -> CreatePayment | None:
        shard = self._shards.of_payment(payment)
        subject = shard.subject(CreatePayment.address_of(payment))
        stored = self._streams.last(KEYED_PAYMENT_COMMANDS.of(shard), subject)
        return None if stored is None else CreatePayment.model_validate_json(stored.body)

    @property
    def pending(self) -> dict[UUID, tuple[CreatePayment, Trace]]:
        """The commands that are not recorded, and the trace of each."""
        return {command.id: (command, origin) for command, origin in self._pending()}

    def record_all(self) -> None:
        """Count every pending command as recorded."""
        self._recorded += self._waiting()

    def _pending(self) -> Iterator[tuple[CreatePayment, Trace]]:
        for stored in self._waiting():
            if stored.stream.name.startswith(KEYED_PAYMENT_COMMANDS.name):
                origin = Trace(stored.headers.get(REQUEST_ID, ""), stored.headers.get(TRACEPARENT, ""))
                yield CreatePayment.model_validate_json(stored.body), origin
            else:
                for item in CreatePayments.model_validate_json(stored.body).items:
                    yield item.command, Trace(item.request_id, item.traceparent)

    def _waiting(self) -> list[Stored]:
        streams = streams_of(self._shards.all, (PAYMENT_COMMANDS, KEYED_PAYMENT_COMMANDS))
        stored = [message for stream in streams for message in self._streams.messages(stream)]
        return [each for each in stored if each not in self._recorded and self._streams.is_waiting(each)]

    async def _add(self, command: CreatePayment) -> None:
        if self.refusal:
            raise self.refusal
        message, _ = published(command, trace.get())
        headers = {"content-type": "application/json"}
        if isinstance(message, CreatePayment):  # the items of a batch have their traces
            headers |= trace.get().headers()
        subject = self._shards.of_payment(command.id).subject(message.address)
        await self._streams.publish(subject, message.model_dump_json().encode(), headers)


def published(
    command: CreatePayment, origin: Trace = _NO_TRACE
) -> tuple[CreatePayment, Stream] | tuple[CreatePayments, Stream]:
    """Return the message with which the gateway publishes a payment: one without a key is a batch of one."""
    if command.id.version != UNKEYED:
        return command, KEYED_PAYMENT_COMMANDS
    return batch_of(command, origin=origin), PAYMENT_COMMANDS


def batch_of(*commands: CreatePayment, origin: Trace = _NO_TRACE) -> CreatePayments:
    """Return commands as the batch of their ids."""
    items = tuple(
        BatchedPayment(command=command, request_id=origin.request_id, traceparent=origin.traceparent)
        for command in commands
    )
    return CreatePayments(batch=commands[0].id.hex[:24], items=items)
