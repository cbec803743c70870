"""The SQL on signing keys; one object is one transaction."""

import json
from collections.abc import Collection
from datetime import datetime

from apps.users.errors import RotationInProgress
from apps.users.key_models import SigningKey
from contracts.base import Event
from contracts.keys import KeyState
from kit.database import Transaction
from kit.outbox.table import emit
from kit.runtime.tracing import trace

_KEYS = """
SELECT kid, sealed, public, state, created_at, published_at, signs_from, retired_at
FROM signing_keys ORDER BY created_at DESC, kid DESC
"""
_ADD = """
INSERT INTO signing_keys (kid, sealed, public, state, created_at, signs_from)
VALUES ($1, $2, $3, $4::text, clock_timestamp(), CASE WHEN $4::text = 'active' THEN clock_timestamp() END)
ON CONFLICT (state) WHERE state <> 'retired' DO NOTHING RETURNING kid
"""
_RETIRE = "UPDATE signing_keys SET state = 'retired', retired_at = clock_timestamp() WHERE state = 'active'"
_ACTIVATE = "UPDATE signing_keys SET state = 'active', signs_from = clock_timestamp() WHERE kid = $1"


class SigningKeys(Transaction):
    """Signing keys, in one transaction. All times are those of the database, which the replicas share."""

    async def now(self) -> datetime:
        """Return the time."""
        time: datetime = await self._connection.fetchval("SELECT clock_timestamp()")
        return time

    async def all(self) -> list[SigningKey]:
        """Return every key, the newest first."""
        rows = await self._connection.fetch(_KEYS)
        return [
            SigningKey(**{**row, "public": json.loads(row["public"]), "state": KeyState(row["state"])}) for row in rows
        ]

    async def lock(self) -> None:
        """Wait for other transactions that activate a key, and let later ones wait until this one ends."""
        await self._connection.execute("SELECT kid FROM signing_keys WHERE state = 'active' FOR UPDATE")

    async def add_first(self, key: SigningKey) -> None:
        """Insert `key` as the active one, unless there is an active one."""
        await self._add(key, KeyState.ACTIVE)

    async def add_next(self, key: SigningKey) -> None:
        """Insert `key` as the next one. Raises `RotationInProgress` if there is a next one."""
        if not await self._add(key, KeyState.NEXT):
            raise RotationInProgress

    async def note_published(self, kids: Collection[str]) -> None:
        """Note that these keys are published, from now on unless that was noted before."""
        noted = "UPDATE signing_keys SET published_at = clock_timestamp() WHERE published_at IS NULL AND kid = ANY($1)"
        await self._connection.execute(noted, list(kids))

    async def activate(self, key: SigningKey) -> None:
        """Let `key` sign, and retire the active one; the caller has locked the keys."""
        await self._connection.execute(_RETIRE)
        await self._connection.execute(_ACTIVATE, key.kid)

    async def delete(self, kids: Collection[str]) -> None:
        """Delete retired keys of which no token can be valid any more."""
        await self._connection.execute("DELETE FROM signing_keys WHERE state = 'retired' AND kid = ANY($1)", list(kids))

    async def withdraw(self, kid: str) -> None:
        """Delete a key that does not sign."""
        await self._connection.execute("DELETE FROM signing_keys WHERE state <> 'active' AND kid = $1", kid)

    async def emit(self, event: Event) -> None:
        """Store an event in the outbox; it is published after the commit."""
        await emit(self._connection, [(event, trace.get())])

    async def _add(self, key: SigningKey, state: KeyState) -> bool:
        values = (key.kid, key.sealed, json.dumps(key.public), state.value)
        return await self._connection.fetchval(_ADD, *values) is not None
