"""Payments without a key: those that arrive together travel in one message, with one acknowledgement.

See docs/adr/0017-batched-commands.md.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from apps.gateway.http.backpressure import remaining
from apps.gateway.payments.ids import BatchIds
from apps.gateway.payments.publishing import NEW, CommandPublisher, Outgoing, Refused, time_left
from contracts.payments import MAX_BATCH_PAYMENTS, BatchedPayment, CreatePayment, CreatePayments
from contracts.shards import ONLY, Shard
from kit.errors import NATS, OutcomeUnknown, Unavailable
from kit.runtime.failpoints import AFTER_BATCH, failpoint
from kit.runtime.spans import on_behalf_of
from kit.runtime.tracing import Trace, trace

NewCommand = Callable[[UUID], CreatePayment]
"""Returns the command of a payment with this id."""
Assigned = Callable[[UUID], None]
"""Is called with the id of a payment before it is published; again if the payment gets another id."""

IN_FLIGHT = 2
"""Batches that are published at a time. With one, the clients of 32 connections fall into two cohorts."""
IN_FLIGHT_OF_SHARD = 1
"""The same for each of several shards. With two, the clients divide into two batches for each shard (docs/scale.md)."""
GATHER_DELAY = 0.001
"""Seconds that a batch takes more payments if the one before had several. Measured at 32 and at 128 connections: 2.4 to
2.8 times as many payments in a message, so less work and fewer syncs in all processes."""
_MAX_BYTES = 512 << 10
_SINGLES_IN_FLIGHT = 64


class _Entry(NamedTuple):
    command: CreatePayment
    caller: UUID
    body: bytes
    origin: Trace
    assigned: Assigned
    deadline: float
    stored: "asyncio.Future[CreatePayment]"


@dataclass
class _Batch:
    ids: BatchIds = field(default_factory=BatchIds)
    entries: list[_Entry] = field(default_factory=list)
    size: int = 0


class PaymentBatches:
    """Gathers payments into batches and publishes each as one `CreatePayments`.

    What arrives in one turn of the event loop, and while `in_flight` batches are being published, forms the next one,
    of at most `max_payments` payments and `max_bytes` bytes. After a batch of several payments, the next one is open
    for `gather_delay` seconds more, in which the clients that were just answered pay again; after a lone payment it is
    not. `timeout` is the time of one HTTP request, in seconds. All of them belong to one `shard`.
    """

    def __init__(
        self,
        publisher: CommandPublisher,
        timeout: float,
        *,
        in_flight: int = IN_FLIGHT,
        gather_delay: float = GATHER_DELAY,
        max_payments: int = MAX_BATCH_PAYMENTS,
        max_bytes: int = _MAX_BYTES,
        shard: Shard = ONLY,
    ) -> None:
        self._publisher = publisher
        self._timeout = timeout
        self._free = in_flight
        self._gather_delay = gather_delay
        self._last_size = 0
        self._max_payments = max_payments
        self._max_bytes = max_bytes
        self._shard = shard
        self._waiting: deque[_Batch] = deque()
        """Batches that are not published yet; only the last one takes more payments."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._singles = asyncio.Semaphore(_SINGLES_IN_FLIGHT)

    async def publish(self, new: NewCommand, caller: UUID, assigned: Assigned) -> CreatePayment:
        """Give a payment an id, publish it with those that arrive together, and return its command.

        The id is assigned before the first suspension of this coroutine.

        Raises `Unavailable` if nothing was stored, and `OutcomeUnknown` if no acknowledgement arrived in time.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + remaining(self._timeout)
        entry = self._add(new, caller, assigned, trace.get(), deadline, loop.create_future())
        if self._free and len(self._waiting[-1].entries) == 1:
            self._start()
        return await entry.stored

    def _add(
        self,
        new: NewCommand,
        caller: UUID,
        assigned: Assigned,
        origin: Trace,
        deadline: float,
        stored: "asyncio.Future[CreatePayment]",
    ) -> _Entry:
        batch = self._waiting[-1] if self._waiting else self._open()
        if len(batch.entries) == self._max_payments or batch.size >= self._max_bytes:
            batch = self._open()
        command = new(batch.ids.next(caller))
        body = _item(command, origin)
        assigned(command.id)
        entry = _Entry(command, caller, body, origin, assigned, deadline, stored)
        batch.entries.append(entry)
        batch.size += len(body)
        return entry

    def _open(self) -> _Batch:
        self._waiting.append(_Batch())
        return self._waiting[-1]

    def _start(self) -> None:
        self._free -= 1
        # It runs in the next turn of the event loop, after all payments of this turn are added.
        task = asyncio.create_task(self._run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self) -> None:
        try:
            if self._last_size > 1:
                await asyncio.sleep(self._gather_delay)
            if self._waiting:  # another task may have taken the batch
                batch = self._waiting.popleft()
                self._last_size = len(batch.entries)
                await self._publish(batch)
        finally:
            self._free += 1
            if self._waiting:
                self._start()

    async def _publish(self, batch: _Batch) -> None:
        """Publish a batch and resolve its futures; a batch that is refused is published payment by payment."""
        entries = _still_wanted(batch.entries)
        if not entries:
            return
        try:
            with on_behalf_of([entry.origin for entry in entries]):
                await self._publisher.publish(_message(batch.ids, entries, self._shard), _time_left(entries))
        except Refused as refusal:
            if len(entries) == 1:
                _fail(entries, refusal.as_unavailable())
            else:
                await asyncio.gather(*map(self._publish_alone, entries))
        except (Unavailable, OutcomeUnknown) as error:
            _fail(entries, error)
        except BaseException as error:
            _fail(entries, error if isinstance(error, Exception) else Unavailable(NATS))
            raise
        else:
            if len(entries) > 1:
                failpoint(AFTER_BATCH)
            for entry in entries:
                if not entry.stored.done():
                    entry.stored.set_result(entry.command)

    async def _publish_alone(self, entry: _Entry) -> None:
        """Publish one payment of a refused batch as a batch of one, under a new id.

        The prefix of a batch is not used again: under one subject only the last message would be found.
        """
        ids = BatchIds()
        command = entry.command.model_copy(update={"id": ids.next(entry.caller)})
        entry.assigned(command.id)
        alone = entry._replace(command=command, body=_item(command, entry.origin))
        async with self._singles:
            await self._publish(_Batch(ids, [alone], len(alone.body)))


def _still_wanted(entries: Sequence[_Entry]) -> list[_Entry]:
    """Return the entries whose clients still wait; those that are too late are refused, since nothing is stored."""
    now = asyncio.get_running_loop().time()
    _fail([entry for entry in entries if entry.deadline <= now], Unavailable(NATS))
    return [entry for entry in entries if not entry.stored.done()]


def _time_left(entries: Sequence[_Entry]) -> float:
    return time_left(entry.deadline for entry in entries)


def _fail(entries: Sequence[_Entry], error: Exception) -> None:
    for entry in entries:
        if not entry.stored.done():
            entry.stored.set_exception(error)


def _message(ids: BatchIds, entries: Sequence[_Entry], shard: Shard) -> Outgoing:
    # Joined bytes: each payment was serialized when it arrived. A test compares them with `CreatePayments`.
    payments = b",".join(entry.body for entry in entries)
    body = b'{"batch":"%s","payments":[%s]}' % (ids.batch.encode(), payments)
    address = shard.subject(CreatePayments.address_with(entries[0].command.id))
    return Outgoing(address, body, NEW, CreatePayments.subject)


def _item(command: CreatePayment, origin: Trace) -> bytes:
    item = BatchedPayment(command=command, request_id=origin.request_id, traceparent=origin.traceparent)
    return item.model_dump_json().encode()
