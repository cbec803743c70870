"""The stored events of the streams, and positions in them."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import NamedTuple, Protocol

from nats.errors import Error as NatsError

from contracts.streams import PAYMENT_EVENTS, USER_EVENTS, Stream
from kit.errors import NATS, Unavailable
from kit.messaging.broker import Broker
from kit.messaging.reader import StoredMessage, read_range, stored_message


class Position(NamedTuple):
    """A position in both event streams: the last sequence number of each. As text it is `<users>-<payments>`."""

    users: int = 0
    payments: int = 0

    def __str__(self) -> str:
        return f"{self.users}-{self.payments}"

    @classmethod
    def parse(cls, text: str) -> "Position":
        """Parse the text of a position. Raises `ValueError` if it is not one."""
        users, payments = text.split("-")
        if not (users.isascii() and users.isdigit() and payments.isascii() and payments.isdigit()):
            raise ValueError(text)
        return cls(int(users), int(payments))

    def advanced(self, stream: str, sequence: int) -> "Position":
        """Return the position after `sequence` of one stream; it never goes back."""
        return self.merged(Position(users=sequence) if stream == USER_EVENTS.name else Position(payments=sequence))

    def merged(self, other: "Position") -> "Position":
        """Return the later of both positions, stream by stream."""
        return Position(max(self.users, other.users), max(self.payments, other.payments))


class History(Protocol):
    """Reads the streams. Raises `Unavailable` if NATS is."""

    async def position(self) -> Position:
        """Return the last position of both streams."""

    def between(self, stream: Stream, after: int, to: int) -> AsyncGenerator[StoredMessage, None]:
        """Yield the events of one stream from `after`, exclusive, to `to`, inclusive."""


class StreamedHistory:
    """The history in JetStream."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def position(self) -> Position:
        """Return the last position of both streams."""
        try:
            users, payments = await asyncio.gather(
                *(self._broker.jetstream.stream_info(stream.name) for stream in (USER_EVENTS, PAYMENT_EVENTS))
            )
        except NatsError as error:
            raise Unavailable(NATS) from error
        return Position(users.state.last_seq, payments.state.last_seq)

    async def between(self, stream: Stream, after: int, to: int) -> AsyncGenerator[StoredMessage, None]:
        """Yield events that are read in batches, without a consumer that would have to be removed."""
        if after >= to:
            return
        if not self._broker.is_connected():
            raise Unavailable(NATS)
        try:
            async with aclosing(read_range(self._broker.jetstream, stream.name, after=after, to=to)) as messages:
                async for message in messages:
                    if (event := stored_message(stream, message)).original:
                        yield event
        except NatsError as error:
            raise Unavailable(NATS) from error
