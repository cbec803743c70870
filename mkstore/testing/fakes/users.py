"""Fake of `apps.users.repository.Users`: users in memory, with the same rules."""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from apps.users.errors import EmailTaken, UserNotFound
from apps.users.models import CREATION_KEY_LIFETIME, User
from contracts.base import Event
from contracts.users import UserView
from kit.paging import Position
from mkstore.testing.clock import MovableClock
from mkstore.testing.fakes.keys import KeyStore
from mkstore.testing.fakes.sessions import FakeSessions, SessionStore
from mkstore.testing.outbox import OnCommit


@dataclass
class UsersData:
    """The committed state: users, signing keys, sessions and published events."""

    users: dict[UUID, User] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    creation_keys: dict[bytes, tuple[UUID, datetime]] = field(default_factory=dict)
    """The user of each key, and when it was used."""
    clock: MovableClock = field(default_factory=MovableClock)
    keys: KeyStore = field(init=False)
    sessions: SessionStore = field(init=False)

    def __post_init__(self) -> None:
        self.keys = KeyStore(clock=self.clock)
        self.sessions = SessionStore(clock=self.clock)


def _copy(user: User) -> User:
    return User(**user.model_dump())


class FakeUsers(FakeSessions):
    """Fake of `repository.Users`: same rules; `on_commit` gets each event of a committed transaction."""

    def __init__(self, store: UsersData, on_commit: OnCommit | None = None) -> None:
        super().__init__(store.sessions, on_commit)
        self._store = store

    def begin(self) -> None:
        """Begin a transaction."""
        super().begin()
        self._saved: dict[UUID, User] = {}
        self._keys: dict[bytes, tuple[UUID, datetime]] = {}
        self._forgotten: set[UUID] = set()

    def commit(self) -> None:
        """Apply what the transaction has changed."""
        super().commit()
        self._store.users |= self._saved
        keys = self._store.creation_keys | self._keys
        self._store.creation_keys = {key: used for key, used in keys.items() if used[0] not in self._forgotten}
        self._store.events += [event for event, _ in self._emitted]

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
        if self._creator_of(digest) is not None:
            raise EmailTaken(user.email)
        self._keys[digest] = user.id, self._store.clock.now()

    async def created_with(self, digest: bytes) -> User | None:
        created = self._creator_of(digest)
        return next((_copy(user) for user in self._not_deleted() if user.id == created), None)

    async def forget_old_creation_keys(self, lifetime: timedelta) -> None:
        oldest = self._store.clock.now() - lifetime
        self._forgotten |= {user for user, at in self._store.creation_keys.values() if at <= oldest}

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

    def _creator_of(self, digest: bytes) -> UUID | None:
        """Return the user that was created with a key; the service deletes old keys every hour, the fake at once."""
        user, at = self._store.creation_keys.get(digest, (None, None))
        return user if at is not None and self._store.clock.now() - at < CREATION_KEY_LIFETIME else None

    def _not_deleted(self) -> list[User]:
        return [user for user in self._store.users.values() if user.deleted_at is None]
