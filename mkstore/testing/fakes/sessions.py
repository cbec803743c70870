"""Fake of `session_repository.Sessions`: sessions and revocations in memory, with the same rules."""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from apps.users.models import Session
from contracts.base import State
from contracts.sessions import SessionView
from kit.runtime.clock import SYSTEM_CLOCK, SystemClock
from mkstore.testing.outbox import OnCommit
from mkstore.testing.transactions import MemoryTransaction


@dataclass
class SessionStore:
    """The committed sessions, the revocations that are not forgotten, and what was published."""

    sessions: dict[UUID, Session] = field(default_factory=dict)
    revocations: dict[str, tuple[bytes, datetime]] = field(default_factory=dict)
    published: dict[str, bytes] = field(default_factory=dict)
    """Body of the last revocation by subject."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    clock: SystemClock = SYSTEM_CLOCK

    async def publish(self, subject: str, body: bytes) -> None:
        """Store a revocation under its subject."""
        self.published[subject] = body


class FakeSessions(MemoryTransaction):
    """Fake of `Sessions`; its transactions exclude each other from the first lock or write on."""

    def __init__(self, sessions: SessionStore, on_commit: OnCommit | None = None) -> None:
        super().__init__(on_commit)
        self._sessions = sessions

    def begin(self) -> None:
        """Begin a transaction."""
        self._pending: dict[UUID, Session | None] = {}
        self._revocations: dict[str, tuple[bytes, datetime]] = {}
        self._has_lock = False

    def commit(self) -> None:
        """Apply what the transaction has changed."""
        for session_id, session in self._pending.items():
            if session is None:
                self._sessions.sessions.pop(session_id, None)
            else:
                self._sessions.sessions[session_id] = session
        self._sessions.revocations |= self._revocations

    def release(self) -> None:
        """Let the next transaction lock."""
        if self._has_lock:
            self._sessions.lock.release()

    async def acquire(self) -> None:
        """Wait for the transactions that have locked or written before."""
        if not self._has_lock:
            await self._sessions.lock.acquire()
            self._has_lock = True

    async def add_session(self, session: Session) -> None:
        await self.acquire()
        self._pending[session.id] = session

    async def get_session_locked(self, session_id: UUID) -> Session | None:
        await self.acquire()
        session = self._all().get(session_id)
        return None if session is None else Session(**session.model_dump())

    async def save_session(self, session: Session) -> None:
        self._pending[session.id] = session

    async def sessions_of(self, user_id: UUID, *, used_since: datetime, begun_since: datetime) -> list[SessionView]:
        return [
            session.view()
            for session in self._newest_first(user_id)
            if session.last_used_at > used_since and session.created_at > begun_since
        ]

    async def end_session(self, user_id: UUID, session_id: UUID) -> bool:
        await self.acquire()
        session = self._all().get(session_id)
        if session is None or session.user_id != user_id:
            return False
        self._pending[session_id] = None
        return True

    async def end_sessions(self, user_id: UUID, *, except_session: UUID | None = None) -> list[UUID]:
        await self.acquire()
        ended = [session.id for session in self._newest_first(user_id) if session.id != except_session]
        self._pending |= dict.fromkeys(ended)
        return ended

    async def end_excess_sessions(self, user_id: UUID, keep: int) -> list[UUID]:
        ended = [session.id for session in self._newest_first(user_id)[keep:]]
        self._pending |= dict.fromkeys(ended)
        return ended

    async def delete_over(self, *, idle: timedelta, longest: timedelta) -> None:
        await self.acquire()
        over = [
            session.id for session in self._all().values() if session.is_over(idle, longest, self._sessions.clock.now())
        ]
        self._pending |= dict.fromkeys(over)

    async def store_revocations(self, revocations: Sequence[State]) -> None:
        now = self._sessions.clock.now()
        self._revocations |= {each.address: (each.model_dump_json().encode(), now) for each in revocations}

    async def unpublished_revocations(self, older_than: timedelta, limit: int) -> list[tuple[str, bytes]]:
        before = self._sessions.clock.now() - older_than
        stored = self._sessions.revocations.items()
        return [(subject, body) for subject, (body, at) in stored if at < before][:limit]

    async def forget_revocations(self, published: Collection[tuple[str, bytes]]) -> None:
        for subject, body in published:
            if self._sessions.revocations.get(subject, (b"",))[0] == body:
                del self._sessions.revocations[subject]

    def _all(self) -> dict[UUID, Session]:
        merged: dict[UUID, Session | None] = {**self._sessions.sessions, **self._pending}
        return {session_id: session for session_id, session in merged.items() if session is not None}

    def _newest_first(self, user_id: UUID) -> list[Session]:
        own = [session for session in self._all().values() if session.user_id == user_id]
        return sorted(own, key=lambda session: (session.last_used_at, session.id), reverse=True)
