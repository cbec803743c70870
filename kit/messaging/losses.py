"""Callbacks for the loss of the connection to NATS, which run before the client connects again."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

LOSSES = "losses"
"""The key in FastStream's context of the `Losses` of the broker."""

Callback = Callable[[], Awaitable[None]]


class Losses:
    """Losses of one client's connection."""

    def __init__(self) -> None:
        self._callbacks: list[Callback] = []

    @contextmanager
    def followed_by(self, callback: Callback) -> Iterator[None]:
        """Call `callback` after each loss until the end of the block."""
        self._callbacks.append(callback)
        try:
            yield
        finally:
            self._callbacks.remove(callback)

    async def occurred(self) -> None:
        """Call every callback; the client connects again only after that."""
        for callback in tuple(self._callbacks):
            await callback()
