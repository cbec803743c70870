"""All SQL of the users service; one object is one transaction."""

from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, ColumnElement, Uuid, any_, bindparam, desc, or_, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError

from apps.users.errors import EmailTaken, UserNotFound
from apps.users.models import SigningKey, Table, User, outbox
from contracts.base import Event
from contracts.users import JsonWebKey, UserView
from kit.database import Transaction
from kit.outbox.table import emit
from kit.paging import Position
from kit.runtime.tracing import trace

_users = Table.metadata.tables["users"]
_keys = Table.metadata.tables["signing_keys"]

_not_deleted = _users.c.deleted_at.is_(None)
_views = select(*(_users.c[name] for name in UserView.model_fields)).where(_not_deleted)
_views_of = _views.where(_users.c.id == any_(bindparam("ids", type_=ARRAY(Uuid))))
_newest_first = _views.order_by(desc(_users.c.created_at), desc(_users.c.id))


class Users(Transaction):
    """Users, in one transaction; no method returns a deleted one."""

    async def get_many(self, ids: Collection[UUID]) -> tuple[UserView, ...]:
        """Return the users with these ids, in any order; unknown ids are left out."""
        rows = await self._connection.execute(_views_of, {"ids": list(ids)})
        return tuple(UserView(**row) for row in rows.mappings())

    async def list_newest(self, limit: int, *, before: Position | None, email: str | None) -> tuple[UserView, ...]:
        """Return up to `limit` users older than `before`, newest first, or only the one with `email`."""
        query = _newest_first.limit(limit)
        if before is not None:
            query = query.where(tuple_(_users.c.created_at, _users.c.id) < before)
        if email is not None:
            query = query.where(_users.c.email == email)
        rows = await self._connection.execute(query)
        return tuple(UserView(**row) for row in rows.mappings())

    async def with_email(self, email: str) -> User | None:
        """Return the user with this email, or None."""
        return await self._one(_users.c.email == email)

    async def get(self, user_id: UUID) -> User:
        """Return the user. Raises `UserNotFound` if there is none."""
        return self._found(user_id, await self._one(_users.c.id == user_id))

    async def get_locked(self, user_id: UUID) -> User:
        """Return the user and lock its row until the transaction ends. Raises `UserNotFound` if there is none."""
        return self._found(user_id, await self._one(_users.c.id == user_id, lock=True))

    async def add(self, user: User) -> None:
        """Insert a new user. Raises `EmailTaken` if another user has its email."""
        added = await self._connection.execute(
            insert(_users)
            .values(user.model_dump())
            .on_conflict_do_nothing(index_elements=[_users.c.email])
            .returning(_users.c.id)
        )
        if added.first() is None:
            raise EmailTaken(user.email)

    async def save(self, user: User) -> None:
        """Update a user. Raises `EmailTaken` if another user has its email."""
        try:
            await self._connection.execute(update(_users).where(_users.c.id == user.id).values(user.model_dump()))
        except IntegrityError as error:
            raise EmailTaken(user.email) from error

    async def replace_hash(self, user_id: UUID, old: str, new: str) -> None:
        """Replace the hash `old` of an unchanged password; do nothing if the password was changed meanwhile."""
        unchanged = (_users.c.id == user_id) & (_users.c.password_hash == old)
        await self._connection.execute(update(_users).where(unchanged).values(password_hash=new))

    async def emit(self, event: Event) -> None:
        """Store an event in the outbox; it is published after the commit."""
        await emit(self._connection, outbox, [(event, trace.get())])

    async def _one(self, condition: ColumnElement[bool], *, lock: bool = False) -> User | None:
        query = select(_users).where(condition, _not_deleted)
        row = (await self._connection.execute(query.with_for_update() if lock else query)).mappings().first()
        return None if row is None else User(**row)

    @staticmethod
    def _found(user_id: UUID, user: User | None) -> User:
        if user is None:
            raise UserNotFound(user_id)
        return user


class SigningKeys(Transaction):
    """Signing keys, in one transaction."""

    async def active(self) -> SigningKey | None:
        """Return the key that signs, or None."""
        row = (await self._connection.execute(select(_keys).where(_keys.c.retired_at.is_(None)))).mappings().first()
        return None if row is None else SigningKey(**row)

    async def insert_if_none(self, key: SigningKey) -> None:
        """Insert `key` as the active one, unless there is an active one."""
        values: dict[str, Any] = key.model_dump()
        await self._connection.execute(insert(_keys).values(values).on_conflict_do_nothing())

    async def public(self, *, retired_since: datetime) -> tuple[JsonWebKey, ...]:
        """Return the public keys of the active key and of those retired after `retired_since`, newest first."""
        recent = or_(_keys.c.retired_at.is_(None), _keys.c.retired_at > retired_since)
        rows = await self._connection.execute(select(_keys.c.public).where(recent).order_by(desc(_keys.c.created_at)))
        return tuple(JsonWebKey.model_validate(row.public) for row in rows)
