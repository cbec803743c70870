"""Payments with a key: one message each on a stream that stays as the memory of the key.

See docs/adr/0018-memory-of-keys.md.
"""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from apps.gateway.http.backpressure import remaining
from apps.gateway.payments.publishing import NEW, CommandPublisher, Outgoing, Refused, time_left
from contracts import nats_errors
from contracts.payments import CreatePayment
from contracts.shards import ONLY, Shard
from kit.batching import BatchLoader
from kit.errors import OutcomeUnknown, Unavailable
from kit.runtime.tracing import trace

_MAX_BATCH = 200
"""An atomic batch takes the longer the larger it is; 200 reach the highest rate (19,207 a second, measured)."""
IN_FLIGHT = 2


class _Entry(NamedTuple):
    payment: UUID
    message: Outgoing
    deadline: float


_Outcome = bool | Exception
"""Whether the payment is new, or why that is not known."""


class KeyedPayments:
    """Publishes payments with a key, each only if the stream has none with its id.

    Those that arrive together are one atomic batch. A batch with a known id is refused as a whole, and then each of its
    payments is published singly. `timeout` is the time of one HTTP request, in seconds. All belong to one `shard`.
    """

    def __init__(
        self, publisher: CommandPublisher, timeout: float, *, in_flight: int = IN_FLIGHT, shard: Shard = ONLY
    ) -> None:
        self._publisher = publisher
        self._shard = shard
        self._timeout = timeout
        self._loader: BatchLoader[_Entry, _Outcome] = BatchLoader(
            self._publish_all, in_flight=in_flight, max_batch=_MAX_BATCH
        )

    async def publish(self, command: CreatePayment) -> bool:
        """Publish `command`; False if the stream has one with its id.

        Raises `Unavailable` if nothing was stored, and `OutcomeUnknown` if no acknowledgement arrived in time.
        """
        body = command.model_dump_json().encode()
        message = Outgoing(self._shard.subject(command.address), body, NEW | trace.get().headers(), command.subject)
        deadline = asyncio.get_running_loop().time() + remaining(self._timeout)
        outcome = await self._loader(_Entry(command.id, message, deadline))
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def _publish_all(self, entries: Sequence[_Entry]) -> list[_Outcome]:
        """Publish the first entry of each id; the others are repetitions of it."""
        first: dict[UUID, _Entry] = {}
        for entry in entries:
            first.setdefault(entry.payment, entry)
        outcomes = await self._publish_new(list(first.values()))
        by_id = dict(zip(first, outcomes, strict=True))
        return [
            outcome if entry is first[entry.payment] or isinstance(outcome, Exception) else False
            for entry in entries
            for outcome in [by_id[entry.payment]]
        ]

    async def _publish_new(self, entries: Sequence[_Entry]) -> list[_Outcome]:
        if len(entries) == 1:
            return [await self._publish_one(entries[0])]
        try:
            await self._publisher.publish_atomically(
                [entry.message for entry in entries], time_left(e.deadline for e in entries)
            )
        except Refused:
            return list(await asyncio.gather(*map(self._publish_one, entries)))
        except (Unavailable, OutcomeUnknown) as error:
            return [error] * len(entries)
        return [True] * len(entries)

    async def _publish_one(self, entry: _Entry) -> _Outcome:
        try:
            await self._publisher.publish(entry.message, time_left([entry.deadline]))
        except Refused as refusal:
            return False if refusal.code == nats_errors.WRONG_LAST_SEQUENCE else refusal.as_unavailable()
        except (Unavailable, OutcomeUnknown) as error:
            return error
        return True
