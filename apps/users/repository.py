"""All SQL of the users service; one object is one transaction."""

from collections.abc import Collection
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg

from apps.users.errors import EmailTaken, UserNotFound
from apps.users.models import User
from apps.users.session_repository import Sessions
from contracts.users import Role, UserView
from kit.paging import Position

_VIEWS = """
SELECT id, email, name, role, disabled, version, created_at, updated_at FROM users WHERE deleted_at IS NULL
"""
_USER = """
SELECT id, email, name, role, disabled, version, created_at, updated_at, password_hash, deleted_at,
    sessions_after, except_session, revocations
FROM users WHERE deleted_at IS NULL
"""
_ADD = """
INSERT INTO users (id, email, name, role, disabled, version, created_at, updated_at, password_hash, deleted_at,
    sessions_after, except_session, revocations)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) ON CONFLICT (email) DO NOTHING RETURNING id
"""
_SAVE = """
UPDATE users SET email = $2, name = $3, role = $4, disabled = $5, version = $6, created_at = $7, updated_at = $8,
    password_hash = $9, deleted_at = $10, sessions_after = $11, except_session = $12, revocations = $13
WHERE id = $1
"""
_ADMINS_LOCK = 4_217_000_003
"""Advisory lock of those who change who is an admin."""


class Users(Sessions):
    """Users and their sessions, in one transaction; no method returns a deleted user."""

    async def get_many(self, ids: Collection[UUID]) -> tuple[UserView, ...]:
        """Return the users with these ids, in any order; unknown ids are left out."""
        rows = await self._connection.fetch(f"{_VIEWS} AND id = ANY($1)", list(ids))
        return tuple(UserView(**row) for row in rows)

    async def list_newest(self, limit: int, *, before: Position | None, email: str | None) -> tuple[UserView, ...]:
        """Return up to `limit` users older than `before`, newest first, or only the one with `email`."""
        arguments: list[Any] = [limit]
        query = _VIEWS
        if before is not None:
            arguments += before
            query += " AND (created_at, id) < ($2, $3)"
        if email is not None:
            arguments.append(email)
            query += f" AND email = ${len(arguments)}"
        rows = await self._connection.fetch(f"{query} ORDER BY created_at DESC, id DESC LIMIT $1", *arguments)
        return tuple(UserView(**row) for row in rows)

    async def with_email(self, email: str) -> User | None:
        """Return the user with this email, or None."""
        return _user(await self._connection.fetchrow(f"{_USER} AND email = $1", email))

    async def get(self, user_id: UUID) -> User:
        """Return the user. Raises `UserNotFound` if there is none."""
        return _found(user_id, await self._connection.fetchrow(f"{_USER} AND id = $1", user_id))

    async def get_locked(self, user_id: UUID) -> User:
        """Return the user and lock its row until the transaction ends. Raises `UserNotFound` if there is none."""
        return _found(user_id, await self._connection.fetchrow(f"{_USER} AND id = $1 FOR UPDATE", user_id))

    async def add(self, user: User) -> None:
        """Insert a new user. Raises `EmailTaken` if another user has its email."""
        if await self._connection.fetchval(_ADD, *_values(user)) is None:
            raise EmailTaken(user.email)

    async def add_creation_key(self, digest: bytes, user: User) -> None:
        """Remember the key that a user was created with. Raises `EmailTaken` if another user was created with it."""
        used = """
            INSERT INTO creation_keys (digest, user_id, used_at) VALUES ($1, $2, now())
            ON CONFLICT (digest) DO NOTHING RETURNING user_id
        """
        if await self._connection.fetchval(used, digest, user.id) is None:
            raise EmailTaken(user.email)  # the other one had this email when it was created

    async def created_with(self, digest: bytes) -> User | None:
        """Return the user that was created with this key, or None."""
        user_id = await self._connection.fetchval("SELECT user_id FROM creation_keys WHERE digest = $1", digest)
        return _user(await self._connection.fetchrow(f"{_USER} AND id = $1", user_id))

    async def forget_creation_keys(self, user_id: UUID) -> None:
        """Forget the key that a user was created with."""
        await self._connection.execute("DELETE FROM creation_keys WHERE user_id = $1", user_id)

    async def forget_old_creation_keys(self, lifetime: timedelta) -> None:
        """Forget the keys that were used `lifetime` ago."""
        await self._connection.execute("DELETE FROM creation_keys WHERE used_at <= now() - $1::interval", lifetime)

    async def save(self, user: User) -> None:
        """Update a user. Raises `EmailTaken` if another user has its email."""
        try:
            await self._connection.execute(_SAVE, *_values(user))
        except asyncpg.UniqueViolationError as error:
            raise EmailTaken(user.email) from error

    async def replace_hash(self, user_id: UUID, old: str, new: str) -> None:
        """Replace the hash `old` of an unchanged password; do nothing if the password was changed meanwhile."""
        unchanged = "UPDATE users SET password_hash = $3 WHERE id = $1 AND password_hash = $2"
        await self._connection.execute(unchanged, user_id, old, new)

    async def lock_admins(self) -> None:
        """Let no other transaction change who is an admin until this one ends; to be called before a user is locked."""
        await self._connection.execute("SELECT pg_advisory_xact_lock($1)", _ADMINS_LOCK)

    async def is_only_admin(self, user_id: UUID) -> bool:
        """Return whether no user but this one is an admin who is not disabled."""
        other = """
            SELECT 1 FROM users WHERE role = 'admin' AND NOT disabled AND deleted_at IS NULL AND id <> $1 LIMIT 1
        """
        return await self._connection.fetchval(other, user_id) is None


def _values(user: User) -> tuple[Any, ...]:
    return (
        *(user.id, user.email, user.name, user.role, user.disabled, user.version),
        *(user.created_at, user.updated_at, user.password_hash, user.deleted_at),
        *(user.sessions_after, user.except_session, user.revocations),
    )


def _user(row: asyncpg.Record | None) -> User | None:
    # SQLModel does not validate a table's values: the role would stay text.
    return None if row is None else User(**{**row, "role": Role(row["role"])})


def _found(user_id: UUID, row: asyncpg.Record | None) -> User:
    user = _user(row)
    if user is None:
        raise UserNotFound(user_id)
    return user
