"""Users and sessions: the tables and the rules on them."""

import hashlib
from collections.abc import Collection
from datetime import datetime, timedelta
from enum import Enum as PythonEnum
from enum import auto
from typing import Any, ClassVar, NamedTuple
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Enum,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Text,
    Uuid,
    text,
)
from sqlalchemy import Table as SqlTable
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel
from uuid_utils.compat import uuid7

from apps.users.errors import UndeliverableEmail, VersionMismatch
from contracts.revocations import UserRevocation
from contracts.sessions import SessionView
from contracts.users import TEST_DOMAIN, CreateUser, Role, UpdateUser, UserDeleted, UserView
from kit.outbox.table import outbox_table


class Table(SQLModel, registry=registry()):
    """Base of this service's tables, with a registry that no other service shares in a test process."""


def _time(*, nullable: bool = False) -> Any:
    return Column(DateTime(timezone=True), nullable=nullable)


_ROLE = Enum(Role, values_callable=list, native_enum=False, length=20)


class EmailRules(NamedTuple):
    """Which email addresses users may have, besides the rules of the contract."""

    test_domains: bool = False
    """Whether domains that end in `.test` are accepted."""

    def check(self, email: str | None) -> None:
        """Raise `UndeliverableEmail` unless a user may have this email; None always passes."""
        if email is not None and email.endswith(TEST_DOMAIN) and not self.test_domains:
            raise UndeliverableEmail


class User(Table, table=True):
    """A user; a deleted one keeps its row without personal data."""

    __tablename__ = "users"
    __table_args__ = (
        # For pages of users, newest first.
        Index("users_newest", "created_at", "id", postgresql_where=text("deleted_at IS NULL")),
    )

    CHANGEABLE: ClassVar[frozenset[str]] = frozenset({"name", "email", "role", "disabled"})

    id: UUID = Field(default_factory=uuid7, primary_key=True)
    email: str = Field(sa_column=Column(Text, nullable=False, unique=True))
    name: str | None = Field(default=None, sa_column=Column(Text))
    role: Role = Field(default=Role.USER, sa_column=Column(_ROLE, nullable=False))
    disabled: bool = Field(default=False, sa_column=Column(Boolean, nullable=False))
    version: int = Field(default=1, sa_column=Column(Integer, nullable=False))
    created_at: datetime = Field(sa_column=_time())
    updated_at: datetime = Field(sa_column=_time())
    password_hash: str | None = Field(default=None, repr=False, sa_column=Column(Text))
    deleted_at: datetime | None = Field(default=None, sa_column=_time(nullable=True))
    sessions_after: UUID | None = Field(default=None, sa_column=Column(Uuid))
    """Sessions with an id up to this one have ended, except `except_session`."""
    except_session: UUID | None = Field(default=None, sa_column=Column(Uuid))
    revocations: int = Field(default=0, sa_column=Column(Integer, nullable=False))
    """Counts the revocations, so that verifiers of tokens see which one is the last."""

    @classmethod
    def register(cls, *, email: str, name: str | None, password_hash: str, now: datetime) -> "User":
        """Create a user with the default role."""
        return cls(email=email, name=name, password_hash=password_hash, created_at=now, updated_at=now)

    def view(self) -> UserView:
        """Return the user as it is shown to others."""
        return UserView(**{name: getattr(self, name) for name in UserView.model_fields})

    def as_created(self, request: CreateUser) -> UserView:
        """Return the view of this user at its creation by `request`, whatever has changed since."""
        return UserView(
            id=self.id,
            email=request.email,
            name=request.name,
            role=Role.USER,
            disabled=False,
            version=1,
            created_at=self.created_at,
            updated_at=self.created_at,
        )

    @property
    def is_active_admin(self) -> bool:
        """Whether the user is an admin who is not disabled."""
        return self.role is Role.ADMIN and not self.disabled

    def expect(self, version: int | None) -> None:
        """Check the version that the caller expects, if any. Raises `VersionMismatch` if the user has another one."""
        if version is not None and version != self.version:
            raise VersionMismatch(version, self.version)

    def change(self, request: UpdateUser, now: datetime) -> bool:
        """Apply the fields that `request` sets; return whether any changed. Null removes a name and nothing else."""
        requested = {field: getattr(request, field) for field in self.CHANGEABLE & request.model_fields_set}
        changes = {
            field: value
            for field, value in requested.items()
            if value != getattr(self, field) and (value is not None or field == "name")
        }
        for field, value in changes.items():
            setattr(self, field, value)
        if changes:
            self._changed(now)
        return bool(changes)

    def change_password(self, password_hash: str, now: datetime) -> None:
        """Replace the password hash; this counts as a new version, although no view shows it."""
        self.password_hash = password_hash
        self._changed(now)

    def delete(self, now: datetime) -> UserDeleted:
        """Delete the personal data and release the email address; the placeholder is not a valid address."""
        self._changed(now)
        self.deleted_at = self.updated_at
        self.email = f"deleted:{self.id}"
        self.name = None
        self.password_hash = None
        return UserDeleted(id=self.id, version=self.version, deleted_at=self.deleted_at)

    def new_session_id(self) -> UUID:
        """Return the id of a new session, which is above `sessions_after` whatever the clock of this host says."""
        return max(uuid7(), UUID(int=self.sessions_after.int + 1)) if self.sessions_after else uuid7()

    def end_sessions(self, ended: Collection[UUID], *, except_session: UUID | None = None) -> None:
        """Note that every session up to now has ended, except one; `ended` are those that had not before."""
        self.sessions_after = max([uuid7(), *ended, *filter(None, [self.sessions_after, except_session])])
        self.except_session = except_session

    def revoke(self, now: datetime) -> UserRevocation:
        """Return what verifiers of tokens must know about this user from now on; the caller saves the user."""
        self.revocations += 1
        return UserRevocation(
            user_id=self.id,
            version=self.revocations,
            sessions_after=self.sessions_after,
            except_session=self.except_session,
            role=self.role,
            revoked_at=now,
        )

    def _changed(self, now: datetime) -> None:
        self.version += 1
        self.updated_at = now


class Use(PythonEnum):
    """What the use of a genuine refresh token means."""

    ROTATED = auto()
    """It was the current one: there is a new one now."""
    REPEATED = auto()
    """It was replaced a moment ago: its client gets the current one again."""
    REUSED = auto()
    """It was replaced earlier: two have a copy of it."""


class Session(Table, table=True):
    """A session of a user; an ended one has no row."""

    __tablename__ = "sessions"
    __table_args__ = (Index("sessions_by_user", "user_id", "last_used_at"),)

    REPEAT_TIME: ClassVar[timedelta] = timedelta(seconds=10)
    """After a rotation, for which any older token gets the current one: two tabs, or a client that repeats."""

    id: UUID = Field(primary_key=True)
    user_id: UUID = Field(sa_column=Column(Uuid, ForeignKey("users.id"), nullable=False))
    device: str = Field(sa_column=Column(Text, nullable=False))
    address: str = Field(sa_column=Column(Text, nullable=False))
    created_at: datetime = Field(sa_column=_time())
    last_used_at: datetime = Field(sa_column=_time())
    rotated_at: datetime = Field(sa_column=_time())
    counter: int = Field(default=0, sa_column=Column(BigInteger, nullable=False))
    """Number of the current refresh token."""
    sealed: bytes = Field(repr=False, sa_column=Column(LargeBinary, nullable=False))
    """The key of its refresh tokens, encrypted with `JWT_SECRET`."""

    @classmethod
    def begin(
        cls, session_id: UUID, user_id: UUID, *, device: str, address: str, sealed: bytes, now: datetime
    ) -> "Session":
        """Return a new session."""
        return cls(
            id=session_id,
            user_id=user_id,
            device=device,
            address=address,
            created_at=now,
            last_used_at=now,
            rotated_at=now,
            sealed=sealed,
        )

    def view(self) -> SessionView:
        """Return the session as its user sees it."""
        return SessionView(**{name: getattr(self, name) for name in SessionView.model_fields})

    def is_over(self, idle: timedelta, longest: timedelta, now: datetime) -> bool:
        """Return whether it was not used for `idle`, or began `longest` ago."""
        return now - self.last_used_at > idle or now - self.created_at > longest

    def use(self, counter: int, *, device: str, address: str, now: datetime) -> Use:
        """Use the refresh token with this number, which the session has issued; the number counts from 0."""
        if counter == self.counter:
            self.counter += 1
            self.rotated_at = self.last_used_at = now
            self.device, self.address = device, address
            return Use.ROTATED
        is_recent = now - self.rotated_at <= self.REPEAT_TIME
        return Use.REPEATED if counter == self.counter - 1 or is_recent else Use.REUSED


def creation_digest(request: CreateUser) -> bytes | None:
    """Return the SHA-256 of a request's key, email and name: what is stored of them; None without a key."""
    if request.idempotency_key is None:
        return None
    parts = ["mkstore/user", request.idempotency_key, request.email, request.name or ""]
    return hashlib.sha256("\0".join(parts).encode()).digest()


CREATION_KEY_LIFETIME = timedelta(hours=24)
"""Time for which the key of a new user is remembered."""

SqlTable(
    "creation_keys",
    Table.metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("user_id", Uuid, ForeignKey("users.id"), nullable=False, index=True),
    Column("used_at", DateTime(timezone=True), nullable=False),
)
"""The idempotency keys of new users, as `creation_digest`."""

SqlTable(
    "revocations",
    Table.metadata,
    Column("subject", Text, primary_key=True),
    Column("body", LargeBinary, nullable=False),
    Column("stored_at", DateTime(timezone=True), nullable=False),
)
"""Revocations that were committed and are not known to be published."""

outbox = outbox_table(Table.metadata)
