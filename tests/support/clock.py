"""A clock that a test moves."""


class Clock:
    """A monotonic clock, in seconds, that stands still until a test adds to `now`."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now
