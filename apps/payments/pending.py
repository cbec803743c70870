"""Finds accepted payments that are not recorded yet, by their ids alone."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator
from uuid import UUID

from pydantic import ValidationError

from contracts.payments import BatchedPayment, CreatePayment, CreatePayments
from contracts.shards import ONLY, Shard
from contracts.streams import DEAD, DEAD_LETTERS, KEYED_PAYMENT_COMMANDS, PAYMENT_COMMANDS, Stream

FindBodies = Callable[[Stream, Collection[str]], Awaitable[dict[str, bytes]]]
"""Returns the body of the last message on each subject that has one. Raises `Unavailable` if JetStream is."""

_UNKEYED_VERSION = 7
"""Version of the UUID of a payment without a key; that of a keyed one is 8."""


class PendingPayments:
    """Finds the commands of payments in the streams of a shard."""

    def __init__(self, find_bodies: FindBodies, shard: Shard = ONLY) -> None:
        self._find_bodies = find_bodies
        self._shard = shard

    async def find(self, ids: Collection[UUID], *, queued: bool = True) -> list[CreatePayment]:
        """Return the commands with these ids that are queued or dead-lettered, in any order.

        A keyed command stays in its stream after it is recorded, so ask the database first. Without `queued` only dead
        letters are searched. Raises `Unavailable` if JetStream does not reply.
        """
        missing, found = set(ids), list[CreatePayment]()
        if queued:
            unkeyed = {each for each in missing if each.version == _UNKEYED_VERSION}
            for commands in await asyncio.gather(self._in_batches(unkeyed), self._keyed(missing - unkeyed)):
                found += commands
            missing -= {command.id for command in found}
        dead = await self._single(DEAD_LETTERS, DEAD, missing)
        missing -= {command.id for command in dead}
        # A dead letter that was replayed since the first lookup, also that of a payment without a key.
        return found + dead + (await self._keyed(missing) if queued else [])

    async def _keyed(self, ids: Collection[UUID]) -> list[CreatePayment]:
        return await self._single(KEYED_PAYMENT_COMMANDS.of(self._shard), "", ids)

    async def _single(self, stream: Stream, prefix: str, ids: Collection[UUID]) -> list[CreatePayment]:
        if not ids:
            return []
        bodies = await self._find_bodies(
            stream, {f"{prefix}{self._shard.subject(CreatePayment.address_of(each))}" for each in ids}
        )
        return [command for body in bodies.values() if (command := _readable(body))]

    async def _in_batches(self, ids: Collection[UUID]) -> list[CreatePayment]:
        if not ids:
            return []
        subjects = {self._shard.subject(CreatePayments.address_with(each)) for each in ids}
        bodies = await self._find_bodies(PAYMENT_COMMANDS.of(self._shard), subjects)
        return [command for body in bodies.values() for command in _commands_in(body) if command.id in ids]


def _commands_in(batch: bytes) -> Iterator[CreatePayment]:
    try:
        items = CreatePayments.read_each(batch)
    except ValidationError:
        return
    yield from (item.command for item in items if isinstance(item, BatchedPayment))


def _readable(body: bytes) -> CreatePayment | None:
    """Return the command in `body`; None for an invalid one, whose payment nobody was promised."""
    try:
        return CreatePayment.model_validate_json(body)
    except ValidationError:
        return None
