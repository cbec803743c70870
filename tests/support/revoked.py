"""Revocations as the users service publishes them, for tests of those who verify tokens."""

from datetime import UTC, datetime
from uuid import UUID

from apps.gateway.revocations import Revocations
from contracts.revocations import SessionRevocation, UserRevocation
from contracts.users import Role


async def no_stored_keys() -> None:
    """Find no public keys in the stream: they arrive as messages only."""


def caught_up() -> Revocations:
    """Return the revocations of a gateway that knows all of them: none."""
    revocations = Revocations()
    revocations.caught_up.set()
    return revocations


def session_revoked(session: UUID, user: UUID) -> SessionRevocation:
    """Return the end of one session."""
    return SessionRevocation(session_id=session, user_id=user, revoked_at=datetime.now(UTC))


def user_revoked(
    user: UUID,
    version: int = 1,
    *,
    sessions_after: UUID | None = None,
    except_session: UUID | None = None,
    role: Role = Role.USER,
) -> UserRevocation:
    """Return the end of all sessions up to one, except another."""
    return UserRevocation(
        user_id=user,
        version=version,
        sessions_after=sessions_after,
        except_session=except_session,
        role=role,
        revoked_at=datetime.now(UTC),
    )
