"""The stored events of the streams, and positions in them."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from functools import lru_cache
from itertools import zip_longest
from typing import Protocol, Self

from nats.errors import Error as NatsError

from contracts.shards import ALL_IN_ONE, MAX_SHARDS, Shards
from contracts.streams import PAYMENT_EVENTS, USER_EVENTS, Stream
from kit.errors import NATS, Unavailable
from kit.messaging.broker import Broker
from kit.messaging.reader import StoredMessage, read_range, stored_message


class Position(tuple[int, ...]):
    """A position in all event streams: the last sequence number of each, that of the users first.

    As text it is `<users>-<payments>`, with several shards `<users>-<payments of shard 0>-<payments of shard 1>`.
    """

    __slots__ = ()

    def __new__(cls, *sequences: int) -> Self:
        """Return the position with these sequence numbers; without them the beginning."""
        return super().__new__(cls, sequences or (0, 0))

    def __str__(self) -> str:
        return "-".join(map(str, self))

    @classmethod
    def parse(cls, text: str, shards: int = 1) -> Self:
        """Parse the text of a position. Raises `ValueError` if it is not one for this number of shards."""
        numbers = text.split("-")
        if len(numbers) != 1 + shards or not all(each.isascii() and each.isdigit() for each in numbers):
            raise ValueError(f"not a position such as 1-2: {text}")
        return cls(*map(int, numbers))

    def advanced(self, stream: str, sequence: int) -> "Position":
        """Return the position after `sequence` of one stream; it never goes back."""
        place = _place_of(stream)
        if place < len(self) and self[place] >= sequence:
            return self
        numbers = [*self, *[0] * (place + 1 - len(self))]
        numbers[place] = sequence
        return Position(*numbers)

    def merged(self, other: "Position") -> "Position":
        """Return the later of both positions, stream by stream."""
        return Position(*(max(one, two) for one, two in zip_longest(self, other, fillvalue=0)))


def event_streams(shards: Shards) -> tuple[Stream, ...]:
    """Return the streams of events, in the order of a position."""
    return (USER_EVENTS, *(PAYMENT_EVENTS.of(shard) for shard in shards.all))


@lru_cache(maxsize=2 * MAX_SHARDS)
def _place_of(stream: str) -> int:
    """Return the place of a stream of events, or of a shard's, in a position."""
    if stream == USER_EVENTS.name:
        return 0
    shard = stream.removeprefix(PAYMENT_EVENTS.name).lstrip("_")
    return 1 + int(shard.partition("OF")[0] or 0)


class History(Protocol):
    """Reads the streams. Raises `Unavailable` if NATS is."""

    streams: Sequence[Stream]
    """The streams, in the order of a position."""

    async def position(self) -> Position:
        """Return the last position of all streams."""

    def between(self, stream: Stream, after: int, to: int) -> AsyncGenerator[StoredMessage, None]:
        """Yield the events of one stream from `after`, exclusive, to `to`, inclusive."""


class StreamedHistory:
    """The history in JetStream."""

    def __init__(self, broker: Broker, shards: Shards = ALL_IN_ONE) -> None:
        self._broker = broker
        self.streams: Sequence[Stream] = event_streams(shards)

    async def position(self) -> Position:
        """Return the last position of all streams."""
        try:
            found = await asyncio.gather(*(self._broker.jetstream.stream_info(each.name) for each in self.streams))
        except NatsError as error:
            raise Unavailable(NATS) from error
        return Position(*(info.state.last_seq for info in found))

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
