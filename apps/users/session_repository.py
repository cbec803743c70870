"""SQL of sessions and of revocations that are not published yet."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from apps.users.models import Session
from contracts.base import Event, State
from contracts.sessions import SessionView
from kit.database import Transaction
from kit.outbox.table import emit
from kit.runtime.tracing import trace

_COLUMNS = "id, user_id, device, address, created_at, last_used_at, rotated_at, counter, sealed"
_VIEWS = "SELECT id, user_id, device, address, created_at, last_used_at FROM sessions"


class Sessions(Transaction):
    """Sessions, in one transaction."""

    async def add_session(self, session: Session) -> None:
        """Insert a new session."""
        await self._connection.execute(
            f"INSERT INTO sessions ({_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",  # noqa: S608 - a constant
            *(session.id, session.user_id, session.device, session.address, session.created_at),
            *(session.last_used_at, session.rotated_at, session.counter, session.sealed),
        )

    async def get_session_locked(self, session_id: UUID) -> Session | None:
        """Return the session and lock its row until the transaction ends; None if there is none."""
        row = await self._connection.fetchrow(
            f"SELECT {_COLUMNS} FROM sessions WHERE id = $1 FOR UPDATE",  # noqa: S608 - a constant
            session_id,
        )
        return None if row is None else Session(**row)

    async def save_session(self, session: Session) -> None:
        """Update a session that was used."""
        await self._connection.execute(
            """
            UPDATE sessions SET device = $2, address = $3, last_used_at = $4, rotated_at = $5, counter = $6
            WHERE id = $1
            """,
            *(session.id, session.device, session.address, session.last_used_at, session.rotated_at, session.counter),
        )

    async def sessions_of(self, user_id: UUID, *, used_since: datetime, begun_since: datetime) -> list[SessionView]:
        """Return the sessions of a user that are not over, the most recently used first."""
        rows = await self._connection.fetch(
            f"""
            {_VIEWS} WHERE user_id = $1 AND last_used_at > $2 AND created_at > $3
            ORDER BY last_used_at DESC, id DESC
            """,
            *(user_id, used_since, begun_since),
        )
        return [SessionView(**row) for row in rows]

    async def end_session(self, user_id: UUID, session_id: UUID) -> bool:
        """Delete a session of a user; return whether there was one."""
        ended = "DELETE FROM sessions WHERE id = $1 AND user_id = $2 RETURNING id"
        return await self._connection.fetchval(ended, session_id, user_id) is not None

    async def end_sessions(self, user_id: UUID, *, except_session: UUID | None = None) -> list[UUID]:
        """Delete the sessions of a user, except one; return the ids of those that were deleted."""
        ended = "DELETE FROM sessions WHERE user_id = $1 AND id IS DISTINCT FROM $2 RETURNING id"
        return [row["id"] for row in await self._connection.fetch(ended, user_id, except_session)]

    async def end_excess_sessions(self, user_id: UUID, keep: int) -> list[UUID]:
        """Delete all but the `keep` most recently used sessions of a user; return the ids of those deleted."""
        rows = await self._connection.fetch(
            """
            DELETE FROM sessions WHERE id IN (
                SELECT id FROM sessions WHERE user_id = $1 ORDER BY last_used_at DESC, id DESC OFFSET $2 FOR UPDATE
            )
            RETURNING id
            """,
            *(user_id, keep),
        )
        return [row["id"] for row in rows]

    async def delete_over(self, *, idle: timedelta, longest: timedelta) -> None:
        """Delete the sessions that were not used for `idle`, or began `longest` ago."""
        await self._connection.execute(
            "DELETE FROM sessions WHERE last_used_at < now() - $1::interval OR created_at < now() - $2::interval",
            *(idle, longest),
        )

    async def store_revocations(self, revocations: Sequence[State]) -> None:
        """Store revocations until they are known to be published."""
        for revocation in revocations:
            await self._connection.execute(
                """
                INSERT INTO revocations (subject, body, stored_at) VALUES ($1, $2, now())
                ON CONFLICT (subject) DO UPDATE SET body = excluded.body, stored_at = excluded.stored_at
                """,
                *(revocation.address, revocation.model_dump_json().encode()),
            )

    async def unpublished_revocations(self, older_than: timedelta, limit: int) -> list[tuple[str, bytes]]:
        """Return revocations that were stored `older_than` ago and not forgotten: their subjects and bodies."""
        rows = await self._connection.fetch(
            "SELECT subject, body FROM revocations WHERE stored_at < now() - $1::interval ORDER BY stored_at LIMIT $2",
            *(older_than, limit),
        )
        return [(row["subject"], row["body"]) for row in rows]

    async def forget_revocations(self, published: Collection[tuple[str, bytes]]) -> None:
        """Forget revocations that are published; one with another body is newer, and stays."""
        await self._connection.execute(
            """
            DELETE FROM revocations USING unnest($1::text[], $2::bytea[]) AS published (subject, body)
            WHERE revocations.subject = published.subject AND revocations.body = published.body
            """,
            *([subject for subject, _ in published], [body for _, body in published]),
        )

    async def emit(self, event: Event) -> None:
        """Store an event in the outbox; it is published after the commit."""
        await self.emit_all([event])

    async def emit_all(self, events: Sequence[Event]) -> None:
        """Store events in the outbox, in their order."""
        await emit(self._connection, [(event, trace.get()) for event in events])
