"""Fake of `key_repository.SigningKeys`: the keys in memory, with the same rules and a clock that a test moves."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Any, Self

from apps.users.errors import RotationInProgress
from apps.users.key_models import SigningKey
from apps.users.key_publication import ReadKeys
from contracts.base import Event
from contracts.keys import KeyState, PublicKeys
from kit.runtime.tracing import trace
from mkstore.testing.clock import MovableClock
from mkstore.testing.outbox import OnCommit


@dataclass
class KeyStore:
    """The keys, the events about them, and every set that was published."""

    keys: dict[str, SigningKey] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    sets: list[PublicKeys] = field(default_factory=list)
    clock: MovableClock = field(default_factory=MovableClock)
    failure: Exception | None = None
    """Raised by `publish`."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def now(self) -> datetime:
        """Return the time of the database."""
        return self.clock.now()

    async def publish(self, read: ReadKeys) -> bool:
        """Publish as `key_publication.publisher` does, for one publisher at a time."""
        if self.failure:
            raise self.failure
        async with self.lock:
            keys = await read()
            if self.sets and self.sets[-1] == keys:
                return True
            self.sets.append(keys)
            return False


class FakeSigningKeys:
    """Fake of `SigningKeys`; what it changes is committed at once, and `on_commit` gets each event."""

    def __init__(self, store: KeyStore, on_commit: OnCommit | None = None) -> None:
        self._store = store
        self._on_commit = on_commit

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        return None

    async def now(self) -> datetime:
        return self._store.now()

    async def all(self) -> list[SigningKey]:
        keys = (SigningKey(**key.model_dump()) for key in self._store.keys.values())
        return sorted(keys, key=lambda key: (key.created_at, key.kid), reverse=True)

    async def lock(self) -> None: ...

    async def add_first(self, key: SigningKey) -> None:
        self._add(key, KeyState.ACTIVE, signs_from=self._store.now())

    async def add_next(self, key: SigningKey) -> None:
        if not self._add(key, KeyState.NEXT):
            raise RotationInProgress

    async def note_published(self, kids: Collection[str]) -> None:
        for kid in kids:
            self._store.keys[kid].published_at = self._store.keys[kid].published_at or self._store.now()

    async def activate(self, key: SigningKey) -> None:
        for other in self._store.keys.values():
            if other.state is KeyState.ACTIVE:
                other.state, other.retired_at = KeyState.RETIRED, self._store.now()
        self._store.keys[key.kid].state = KeyState.ACTIVE
        self._store.keys[key.kid].signs_from = self._store.now()

    async def delete(self, kids: Collection[str]) -> None:
        for kid in kids:
            self._store.keys.pop(kid, None)

    async def withdraw(self, kid: str) -> None:
        del self._store.keys[kid]

    async def emit(self, event: Event) -> None:
        self._store.events.append(event)
        if self._on_commit is not None:
            self._on_commit(event, trace.get())

    def _add(self, key: SigningKey, state: KeyState, **fields: Any) -> bool:
        if any(other.state is state for other in self._store.keys.values()):
            return False
        changed = {"state": state, "created_at": self._store.now(), **fields}
        self._store.keys[key.kid] = SigningKey(**{**key.model_dump(), **changed})
        return True
