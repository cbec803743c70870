"""Ending sessions before they expire: the events for all services, and the revocations for the gateways."""

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

from apps.users.models import User
from apps.users.repository import Users
from contracts.base import State
from contracts.revocations import SessionRevocation, UserRevocation
from contracts.sessions import EndReason, SessionRevoked
from kit.runtime.security_log import security_event


async def end_all(
    users: Users, user: User, reason: EndReason, now: datetime, *, except_session: UUID | None = None
) -> list[State]:
    """End every session of a locked user, except one; return what is to be published after the commit.

    The caller saves the user. A session whose sign-in has not committed yet waits for the lock and is not ended.
    """
    ended = await users.end_sessions(user.id, except_session=except_session)
    user.end_sessions(ended, except_session=except_session)
    await _emit(users, user.id, ended, reason, now)
    return await revoke_user(users, user, now)


async def revoke_user(users: Users, user: User, now: datetime) -> list[State]:
    """Store what verifiers must know about a locked user from now on; return it, to be published after the commit."""
    revocations = [user.revoke(now)]
    await users.store_revocations(revocations)
    return [*revocations]


async def revoke_sessions(
    users: Users, user_id: UUID, ended: Collection[UUID], reason: EndReason, now: datetime
) -> list[State]:
    """Revoke sessions that were deleted; return what is to be published after the commit."""
    await _emit(users, user_id, ended, reason, now)
    revocations = [SessionRevocation(session_id=each, user_id=user_id, revoked_at=now) for each in ended]
    await users.store_revocations(revocations)
    return [*revocations]


async def _emit(users: Users, user_id: UUID, ended: Collection[UUID], reason: EndReason, now: datetime) -> None:
    await users.emit_all([SessionRevoked(id=each, user_id=user_id, reason=reason, revoked_at=now) for each in ended])


def log_ended(revocations: Sequence[State]) -> None:
    """Write a line of the security log for each session, or user, whose end was committed."""
    for each in revocations:
        if isinstance(each, SessionRevocation):
            security_event("session-revoked", user=each.user_id, session=each.session_id)
        elif isinstance(each, UserRevocation):
            security_event("session-revoked", user=each.user_id)
