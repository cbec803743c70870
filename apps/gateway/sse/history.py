"""The events that the streams keep, and a place in them."""

import asyncio
from collections.abc import AsyncGenerator
from typing import NamedTuple, Protocol

from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.errors import NotFoundError

from contracts.streams import PAYMENT_EVENTS, USER_EVENTS, Stream
from kit.errors import NATS, Unavailable
from kit.messaging.broker import Broker
from kit.messaging.reader import stream_reader

_BATCH = 256
_PAUSE = 0.05


class Position(NamedTuple):
    """How far both event streams were read: their sequence numbers. The id of an event, as `<users>-<payments>`."""

    users: int = 0
    payments: int = 0

    def __str__(self) -> str:
        return f"{self.users}-{self.payments}"

    @classmethod
    def parse(cls, text: str) -> "Position":
        """Read an id; raises `ValueError` for what is none."""
        users, payments = text.split("-")
        if not (users.isascii() and users.isdigit() and payments.isascii() and payments.isdigit()):
            raise ValueError(text)
        return cls(int(users), int(payments))

    def moved(self, stream: str, sequence: int) -> "Position":
        """Return the position after `sequence` of one stream; it never goes back."""
        return self.joined(Position(users=sequence) if stream == USER_EVENTS.name else Position(payments=sequence))

    def joined(self, other: "Position") -> "Position":
        """Return the position after what is before either."""
        return Position(max(self.users, other.users), max(self.payments, other.payments))


class StoredEvent(NamedTuple):
    """One event as a stream keeps it."""

    stream: str
    sequence: int
    subject: str
    body: bytes


class History(Protocol):
    """What the streams keep. Raises `Unavailable` when it cannot be read now."""

    async def position(self) -> Position:
        """Return the last sequence numbers."""

    def between(self, stream: Stream, after: int, to: int) -> AsyncGenerator[StoredEvent, None]:
        """Read the events of one stream from `after`, exclusive, to `to`, inclusive."""


class StreamedHistory:
    """The history as JetStream keeps it."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def position(self) -> Position:
        """Ask both streams for their last sequence numbers."""
        try:
            users, payments = await asyncio.gather(
                *(self._broker.jetstream.stream_info(stream.name) for stream in (USER_EVENTS, PAYMENT_EVENTS))
            )
        except NatsError as error:
            raise Unavailable(NATS) from error
        return Position(users.state.last_seq, payments.state.last_seq)

    async def between(self, stream: Stream, after: int, to: int) -> AsyncGenerator[StoredEvent, None]:
        """Read many at a time; nothing is left on the server, whoever comes and goes."""
        if after >= to:
            return
        if not self._broker.is_connected():
            raise Unavailable(NATS)
        try:
            async with stream_reader(self._broker.client) as read:
                while after < to:
                    begin = {"seq": after + 1, "next_by_subj": stream.subjects[0], "batch": min(_BATCH, to - after)}
                    found = await read(stream.name, begin)
                    for event in (_event(stream, message) for message in found):
                        if event.sequence > to:
                            return
                        after = event.sequence
                        yield event
                    if not found and not await self._keeps(stream, to):
                        return
        except NatsError as error:
            raise Unavailable(NATS) from error

    async def _keeps(self, stream: Stream, sequence: int) -> bool:
        """Tell whether an event is there though a replica did not show it: then that one is behind the others."""
        try:
            await self._broker.jetstream.get_msg(stream.name, sequence)  # the leader answers
        except NotFoundError:
            return False
        await asyncio.sleep(_PAUSE)
        return True


def _event(stream: Stream, message: Msg) -> StoredEvent:
    headers = message.headers or {}
    return StoredEvent(stream.name, int(headers["Nats-Sequence"]), headers["Nats-Subject"], message.data)
