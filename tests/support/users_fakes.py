"""Fakes of the users service: its repository in memory, and password hashers that a test observes."""

import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self
from uuid import UUID

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error

from apps.users.errors import EmailTaken, UserNotFound
from apps.users.models import User
from contracts.base import Event
from contracts.users import UserView
from kit.paging import Position
from kit.runtime.tracing import Trace, trace
from tests.support.keys_fake import KeyStore
from tests.support.sessions_fake import FakeSessions, SessionStore


@dataclass
class Store:
    """The committed state: users, signing keys and published events."""

    users: dict[UUID, User] = field(default_factory=dict)
    keys: KeyStore = field(default_factory=KeyStore)
    events: list[Event] = field(default_factory=list)
    sessions: SessionStore = field(default_factory=SessionStore)
    creation_keys: dict[bytes, UUID] = field(default_factory=dict)
    """The user of each key."""


def _copy(user: User) -> User:
    return User(**user.model_dump())


class FakeUsers(FakeSessions):
    """Fake of `repository.Users`: same rules; `on_commit` gets each event of a committed transaction."""

    def __init__(self, store: Store, on_commit: Callable[[Event, Trace], None] | None = None) -> None:
        self._store = store
        self._sessions = store.sessions
        self._on_commit = on_commit

    async def __aenter__(self) -> Self:
        self.begin()
        self._saved: dict[UUID, User] = {}
        self._emitted: list[tuple[Event, Trace]] = []
        self._keys: dict[bytes, UUID] = {}
        self._forgotten: set[UUID] = set()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        if error is None:
            self._store.users |= self._saved
            keys = self._store.creation_keys | self._keys
            self._store.creation_keys = {key: user for key, user in keys.items() if user not in self._forgotten}
            self.commit()
            self._store.events += [event for event, _ in self._emitted]
            if self._on_commit:
                for event, origin in self._emitted:
                    self._on_commit(event, origin)
        self.release()

    async def get_many(self, ids: Collection[UUID]) -> tuple[UserView, ...]:
        return tuple(user.view() for user in self._not_deleted() if user.id in ids)

    async def list_newest(self, limit: int, *, before: Position | None, email: str | None) -> tuple[UserView, ...]:
        users = sorted(
            (
                user
                for user in self._not_deleted()
                if (before is None or (user.created_at, user.id) < before) and email in {None, user.email}
            ),
            key=lambda user: (user.created_at, user.id),
            reverse=True,
        )
        return tuple(user.view() for user in users[:limit])

    async def with_email(self, email: str) -> User | None:
        return next((_copy(user) for user in self._not_deleted() if user.email == email), None)

    async def get(self, user_id: UUID) -> User:
        for user in self._not_deleted():
            if user.id == user_id:
                return _copy(user)
        raise UserNotFound(user_id)

    async def get_locked(self, user_id: UUID) -> User:
        await self.acquire()
        return await self.get(user_id)

    async def lock_admins(self) -> None:
        await self.acquire()

    async def is_only_admin(self, user_id: UUID) -> bool:
        return not any(user.is_active_admin and user.id != user_id for user in self._not_deleted())

    async def add(self, user: User) -> None:
        await self.save(user)

    async def add_creation_key(self, digest: bytes, user: User) -> None:
        if digest in self._store.creation_keys:
            raise EmailTaken(user.email)
        self._keys[digest] = user.id

    async def created_with(self, digest: bytes) -> User | None:
        created = self._store.creation_keys.get(digest)
        return next((_copy(user) for user in self._not_deleted() if user.id == created), None)

    async def forget_creation_keys(self, user_id: UUID) -> None:
        self._forgotten.add(user_id)

    async def save(self, user: User) -> None:
        if any(other.email == user.email and other.id != user.id for other in self._store.users.values()):
            raise EmailTaken(user.email)
        self._saved[user.id] = _copy(user)

    async def replace_hash(self, user_id: UUID, old: str, new: str) -> None:
        user = await self.get(user_id)
        if user.password_hash == old:
            user.password_hash = new
            self._saved[user_id] = user

    async def emit(self, event: Event) -> None:
        await self.emit_all([event])

    async def emit_all(self, events: Sequence[Event]) -> None:
        self._emitted += [(event, trace.get()) for event in events]

    def _not_deleted(self) -> list[User]:
        return [user for user in self._store.users.values() if user.deleted_at is None]


class Verification(NamedTuple):
    """One call of `verify`."""

    stored: str
    error: Argon2Error | None


class RecordingHasher(PasswordHasher):
    """A hasher that records what it verified."""

    def __init__(self, **parameters: Any) -> None:
        super().__init__(**parameters)
        self.verified: list[Verification] = []

    def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:  # noqa: A002 - argon2-cffi's name
        try:
            verified = super().verify(hash, password)
        except Argon2Error as error:
            self.verified.append(Verification(str(hash), error))
            raise
        self.verified.append(Verification(str(hash), None))
        return verified


class BlockingHasher(PasswordHasher):
    """A hasher that waits for `release`; `started` has the name of the thread of each hash."""

    def __init__(self, **parameters: Any) -> None:
        super().__init__(**parameters)
        self.started: list[str] = []
        self.release = threading.Event()

    def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
        self.started.append(threading.current_thread().name)
        assert self.release.wait(60)
        return super().hash(password, salt=salt)
