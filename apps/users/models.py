"""Users and signing keys: the tables, and the rules on them."""

from datetime import UTC, datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import Boolean, Column, DateTime, Enum, Index, Integer, LargeBinary, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel
from uuid_utils.compat import uuid7

from apps.users.errors import VersionMismatch
from contracts.users import JsonWebKey, Role, UpdateUser, UserDeleted, UserView
from kit.outbox.table import outbox_table


class Table(SQLModel, registry=registry()):
    """The base of this service's tables: two services' tables must not meet on one metadata in one test process."""


def _now() -> datetime:
    return datetime.now(UTC)


def _time(*, nullable: bool = False) -> Any:
    return Column(DateTime(timezone=True), nullable=nullable)


_ROLE = Enum(Role, values_callable=list, native_enum=False, length=20)


class User(Table, table=True):
    """A user; one that was deleted keeps its row, and nothing in it that tells who it was."""

    __tablename__ = "users"
    __table_args__ = (
        # The newest first, from where a page ended.
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

    @classmethod
    def register(cls, *, email: str, name: str | None, password_hash: str) -> "User":
        """Make a user, who is nothing special at first."""
        now = _now()
        return cls(email=email, name=name, password_hash=password_hash, created_at=now, updated_at=now)

    def view(self) -> UserView:
        """Show this user as others may see one."""
        return UserView(**{name: getattr(self, name) for name in UserView.model_fields})

    def expect(self, version: int | None) -> None:
        """Raise `VersionMismatch` unless this is the version that the caller knows; None knows none."""
        if version is not None and version != self.version:
            raise VersionMismatch(version, self.version)

    def change(self, request: UpdateUser) -> bool:
        """Take over what `request` says, and tell whether that changes anything; null takes only a name away."""
        said = {field: getattr(request, field) for field in self.CHANGEABLE & request.model_fields_set}
        news = {
            field: value
            for field, value in said.items()
            if value != getattr(self, field) and (value is not None or field == "name")
        }
        for field, value in news.items():
            setattr(self, field, value)
        if news:
            self._changed()
        return bool(news)

    def change_password(self, password_hash: str) -> None:
        """Take a new password; that is a change like any other, though nobody else can see what changed."""
        self.password_hash = password_hash
        self._changed()

    def delete(self) -> UserDeleted:
        """Delete the personal data and release the email address; the placeholder is not a valid address."""
        self._changed()
        self.deleted_at = self.updated_at
        self.email = f"deleted:{self.id}"
        self.name = None
        self.password_hash = None
        return UserDeleted(id=self.id, version=self.version, deleted_at=self.deleted_at)

    def _changed(self) -> None:
        self.version += 1
        self.updated_at = _now()


class SigningKey(Table, table=True):
    """A key that signs tokens, its private half sealed; one that is retired signs no more."""

    __tablename__ = "signing_keys"
    __table_args__ = (
        # One key signs: of several replicas that start at once on an empty table, one makes it.
        Index("signing_keys_one_active", "retired_at", unique=True, postgresql_nulls_not_distinct=True),
    )

    kid: str = Field(sa_column=Column(Text, primary_key=True))
    sealed: bytes = Field(repr=False, sa_column=Column(LargeBinary, nullable=False))
    public: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    created_at: datetime = Field(default_factory=_now, sa_column=_time())
    retired_at: datetime | None = Field(default=None, sa_column=_time(nullable=True))

    def view(self) -> JsonWebKey:
        """Show the public half."""
        return JsonWebKey.model_validate(self.public)


outbox = outbox_table(Table.metadata)
