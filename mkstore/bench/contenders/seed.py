"""Users for the load.

One user signs up over HTTP; the others are copies of its row, because a thousand password hashes would take longer than
a round. Their tokens are signed with the store's own key, as the users service does it.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import asyncpg
from pydantic import SecretStr

from apps.users.key_models import SigningKey
from apps.users.keys import open_key
from contracts.users import Role
from kit.tokens import MAX_LIFETIME, Signer
from mkstore.bench.load.calls import json_call
from mkstore.bench.load.tables import copy_row, table_with
from mkstore.bench.load.target import PASSWORD, Account
from mkstore.chaos.http_client import Api
from mkstore.chaos.store import Store

ADMINS = 10
"""Users who may list everybody's payments."""


class SeedFailed(Exception):
    """The users of a contender could not be created."""


async def sign_up(url: str) -> str:
    """Sign up one user over HTTP; return the email. Raises `SeedFailed` if that is refused."""
    email = f"{uuid4()}@example.com"
    async with Api(url) as api:
        call = json_call("POST", "/users", {"email": email, "password": PASSWORD, "name": "Ada"}, status=(201,))
        if fault := call.fault(await call.send(api)):
            raise SeedFailed(fault)
    return email


async def copy_user(connection: asyncpg.Connection, email: str, number: int, role: str | None = None) -> list[Account]:
    """Insert `number` copies of the user with this email; return them, without tokens."""
    table = await table_with(connection, "email")
    if table is None:
        raise SeedFailed("no table has a column email")
    prefix = uuid4().hex[:8]
    changed = {"email": f"'{prefix}-' || n || '@example.com'"} | ({"role": f"'{role}'"} if role else {})
    await copy_row(connection, table, number, changed, where=f"email = '{email}'")
    rows = await connection.fetch(
        f"SELECT id, email FROM {table} WHERE email LIKE '{prefix}-%' ORDER BY email"  # noqa: S608 - fixed parts
    )
    return [Account(str(row["id"]) if isinstance(row["id"], UUID) else row["id"], row["email"]) for row in rows]


async def seed_store(store: Store, users: int) -> tuple[list[Account], list[Account]]:
    """Create users and admins in a running store; return both, with tokens."""
    email = await sign_up(store.url)
    async with store.database("users_db") as connection:
        accounts = await copy_user(connection, email, users)
        admins = await copy_user(connection, email, ADMINS, Role.ADMIN.value)
    admins = [replace(admin, is_admin=True) for admin in admins]
    return list(await sign_tokens(store, accounts)), list(await sign_tokens(store, admins))


async def sign_tokens(store: Store, accounts: Sequence[Account]) -> Sequence[Account]:
    """Return the accounts with tokens that are valid from now for as long as tokens can be."""
    signer = await _signer(store, MAX_LIFETIME)
    roles = {True: Role.ADMIN.value, False: Role.USER.value}
    return [replace(one, token=signer.sign(UUID(one.id), roles[one.is_admin], uuid4())) for one in accounts]


async def _signer(store: Store, lifetime: timedelta) -> Signer:
    """Return a signer with the active key of the store's database, opened with the secret in its state folder."""
    secret = SecretStr(json.loads((store.home / "secrets.json").read_text())["jwt_secret"])
    async with store.database("users_db") as connection:
        row = await connection.fetchrow("SELECT kid, sealed FROM signing_keys WHERE state = 'active'")
    if row is None:
        raise SeedFailed("the store has no signing key")
    key = SigningKey(kid=row["kid"], sealed=bytes(row["sealed"]), public={})
    return Signer(key.kid, open_key(key, secret), lifetime)
