"""A clock that a test moves."""

from datetime import UTC, datetime, timedelta

from kit.runtime.clock import SystemClock

_NO_TIME = timedelta()


class MovableClock(SystemClock):
    """The clock of the machine, ahead of it by what a test has added.

    What asks a clock follows it: the expiry of access tokens, the idle and the longest time of sessions, rate limits
    and delays after wrong passwords, the day for which the `Idempotency-Key` of a sign-up is remembered, signing keys,
    the age of stored messages, duplicate windows of streams, and the times in events and replies.

    What waits does not: timeouts and deadlines of requests, `Prefer: wait`, open event streams, and the delays of
    retries. Ids that contain a time (UUIDv7) have that of the machine.
    """

    def __init__(self) -> None:
        self._ahead = _NO_TIME

    def advance(
        self, by: timedelta = _NO_TIME, /, *, days: float = 0, hours: float = 0, minutes: float = 0, seconds: float = 0
    ) -> None:
        """Move the clock on by a time. Raises `ValueError` if that would move it back."""
        step = by + timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
        if step < _NO_TIME:
            raise ValueError(f"a clock cannot go back by {-step}")
        self._ahead += step

    def now(self) -> datetime:
        """Return the time of day, in UTC."""
        return datetime.now(UTC) + self._ahead

    def unix_time(self) -> float:
        """Return the seconds since 1970 (UTC)."""
        return super().unix_time() + self._ahead.total_seconds()

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return super().monotonic() + self._ahead.total_seconds()
