"""Users and signing keys: the tables and the rules on them."""

from datetime import UTC, datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import Boolean, Column, DateTime, Enum, Index, Integer, LargeBinary, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel
from uuid_utils.compat import uuid7

from apps.users.errors import VersionMismatch
from contracts.keys import JsonWebKey
from contracts.users import Role, UpdateUser, UserDeleted, UserView
from kit.outbox.table import outbox_table


class Table(SQLModel, registry=registry()):
    """Base of this service's tables, with a registry that no other service shares in a test process."""


def _now() -> datetime:
    return datetime.now(UTC)


def _time(*, nullable: bool = False) -> Any:
    return Column(DateTime(timezone=True), nullable=nullable)


_ROLE = Enum(Role, values_callable=list, native_enum=False, length=20)


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

    @classmethod
    def register(cls, *, email: str, name: str | None, password_hash: str) -> "User":
        """Create a user with the default role."""
        now = _now()
        return cls(email=email, name=name, password_hash=password_hash, created_at=now, updated_at=now)

    def view(self) -> UserView:
        """Return the user as it is shown to others."""
        return UserView(**{name: getattr(self, name) for name in UserView.model_fields})

    def expect(self, version: int | None) -> None:
        """Check the version that the caller expects, if any. Raises `VersionMismatch` if the user has another one."""
        if version is not None and version != self.version:
            raise VersionMismatch(version, self.version)

    def change(self, request: UpdateUser) -> bool:
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
            self._changed()
        return bool(changes)

    def change_password(self, password_hash: str) -> None:
        """Replace the password hash; this counts as a new version, although no view shows it."""
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
    """A key that signs tokens, with its private key encrypted; a retired one does not sign any more."""

    __tablename__ = "signing_keys"
    __table_args__ = (
        # At most one active key: of several replicas that start on an empty table, one creates it.
        Index("signing_keys_one_active", "retired_at", unique=True, postgresql_nulls_not_distinct=True),
    )

    kid: str = Field(sa_column=Column(Text, primary_key=True))
    sealed: bytes = Field(repr=False, sa_column=Column(LargeBinary, nullable=False))
    public: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    created_at: datetime = Field(default_factory=_now, sa_column=_time())
    retired_at: datetime | None = Field(default=None, sa_column=_time(nullable=True))

    def view(self) -> JsonWebKey:
        """Return the public key."""
        return JsonWebKey.model_validate(self.public)


outbox = outbox_table(Table.metadata)
