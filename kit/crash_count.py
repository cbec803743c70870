"""Counts the deaths of processes by the message that they were handling, in the service's database.

The row of a message is written before its handler begins and deleted after it has ended, in transactions of their own.
So the number in a row that stays is that of the processes that died meanwhile.
"""

from collections.abc import Callable
from datetime import timedelta

from structlog.stdlib import get_logger

from kit.database import Transaction
from kit.inbox import CLEAN_INTERVAL, InboxKey
from kit.runtime.periodic import Periodic

log = get_logger(__name__)

_BEGIN = """
INSERT INTO unfinished_messages (consumer, message_id, begun) VALUES ($1, $2, 1)
ON CONFLICT (consumer, message_id) DO UPDATE SET begun = unfinished_messages.begun + 1, begun_at = now()
RETURNING begun
"""
_END = "DELETE FROM unfinished_messages WHERE consumer = $1 AND message_id = $2"
_FORGET = "DELETE FROM unfinished_messages WHERE begun_at < now() - $1::interval"


class CrashCount(Transaction):
    """The messages whose handling has begun and not ended."""

    async def begin(self, message: InboxKey) -> int:
        """Return how often the handling of a message has begun without an end, this time included."""
        ((begun,),) = await self._connection.fetch(_BEGIN, *message)
        return int(begun)

    async def end(self, message: InboxKey) -> None:
        """Forget a message: its handler has returned or raised."""
        await self._connection.execute(_END, *message)

    async def forget(self, age: timedelta) -> None:
        """Forget the messages that nobody has begun to handle for this time."""
        await self._connection.execute(_FORGET, age)


def crash_count_cleaner(open_count: Callable[[], CrashCount], keep: timedelta) -> Periodic:
    """Return the background work that forgets messages which are not redelivered any more."""

    async def forget() -> None:
        async with open_count() as count:
            await count.forget(keep)

    return Periodic(forget, CLEAN_INTERVAL, log=log, failure="cleanup of unfinished messages failed")
