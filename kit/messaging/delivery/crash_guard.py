"""Gives up messages that kill the process which handles them, by a count in the service's database."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from nats.aio.msg import Msg

from kit.crash_count import CrashCount
from kit.errors import NonRetryable
from kit.inbox import InboxKey

CRASH_GUARD = "crash_guard"
"""The key in FastStream's context of the process's `CrashGuard`."""
_FIRST_COUNTED_DELIVERY = 3
"""One redelivery is usual, such as after a restart; counting it would double the work of an outage."""


class ProcessDied(NonRetryable):
    """A process died too often while it handled a message."""

    def __init__(self, times: int) -> None:
        super().__init__(f"the process that handled it died {times} times")


class CrashGuard:
    """Counts how often the process died while it handled a message, and refuses one that has killed it too often.

    `open_count` opens the count in the database; a message is refused after `limit` deaths from its third delivery on.
    """

    def __init__(self, open_count: Callable[[], CrashCount], limit: int) -> None:
        self._open_count = open_count
        self._limit = limit

    @asynccontextmanager
    async def around(self, message: Msg, part: str) -> AsyncIterator[None]:
        """Count the block, which handles one part of a message, unless the message is new.

        Raises `ProcessDied` instead of running the block if the process died too often in it, and the errors of
        `CrashCount`.
        """
        metadata = message.metadata
        if (metadata.num_delivered or 1) < _FIRST_COUNTED_DELIVERY:
            yield
            return
        place = f"{metadata.stream}.{metadata.sequence.stream}.{metadata.timestamp.isoformat()}.{part}"
        key = InboxKey(metadata.consumer, place)
        async with self._open_count() as count:
            begun = await count.begin(key)
        if begun > self._limit:
            raise ProcessDied(begun - 1)  # the count stays: the dead letter may not be stored this time
        try:
            yield
        finally:
            async with self._open_count() as count:
                await count.end(key)
