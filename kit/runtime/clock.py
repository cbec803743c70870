"""The time of a process, passed to what decides by it: a test passes a clock that it moves."""

import time
from datetime import UTC, datetime


class SystemClock:
    """The clocks of the operating system."""

    def now(self) -> datetime:
        """Return the time of day, in UTC."""
        return datetime.now(UTC)

    def unix_time(self) -> float:
        """Return the seconds since 1970 (UTC)."""
        return time.time()

    def monotonic(self) -> float:
        """Return seconds that never go back, to measure how much time has passed."""
        return time.monotonic()


SYSTEM_CLOCK = SystemClock()
