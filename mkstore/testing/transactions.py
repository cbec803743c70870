"""The base of fake repositories."""

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from contracts.base import Event
from kit.runtime.tracing import Trace, trace
from mkstore.testing.outbox import OnCommit


class MemoryTransaction:
    """A fake transaction: `on_commit` gets its events when the block ends without an error, and nothing otherwise.

    A fake repository inherits from it. It overrides `begin`, `commit` and `release` if it keeps changes until the
    commit, or locks.
    """

    def __init__(self, on_commit: OnCommit | None = None) -> None:
        self._on_commit = on_commit
        self._emitted: list[tuple[Event, Trace]] = []

    async def __aenter__(self) -> Self:
        self._emitted = []
        self.begin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self.commit()
                for event, origin in self._emitted:
                    if self._on_commit is not None:
                        self._on_commit(event, origin)
        finally:
            self.release()

    def begin(self) -> None:
        """Begin a transaction, which has changed nothing."""

    def commit(self) -> None:
        """Apply what the transaction has changed."""

    def release(self) -> None:
        """Release what the transaction has locked; it is committed or rolled back."""

    async def emit(self, event: Event) -> None:
        """Publish an event if and when the transaction commits."""
        await self.emit_all([event])

    async def emit_all(self, events: Sequence[Event]) -> None:
        """Publish events, in their order, if and when the transaction commits."""
        self._emitted += [(event, trace.get()) for event in events]
