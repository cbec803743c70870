"""What a verifier of access tokens must know besides public keys: which tokens count no more, and as which role.

The stream `REVOCATIONS` keeps the last message of each subject for the longest life of an access token. See
docs/adr/0025-revocation.md.
"""

from typing import ClassVar
from uuid import UUID

from pydantic import Field

from contracts.base import Instant, State, example
from contracts.users import Role

_USER = "0198c5c8-7c1e-7a52-9d3b-4f1e8a6b2c01"
_SESSION = "0198c5d0-11f4-7b60-8a55-0c9d3f6e7a10"


class SessionRevocation(State):
    """A session that has ended: no token of it is valid."""

    model_config = example(sessionId=_SESSION, userId=_USER, revokedAt="2026-01-31T13:00:00Z")
    subject: ClassVar[str] = "revocations.session.{sessionId}"

    session_id: UUID
    user_id: UUID
    revoked_at: Instant

    @property
    def key(self) -> str:
        """Id of the session."""
        return str(self.session_id)


class UserRevocation(State):
    """A user whose sessions have ended, or whose role has changed, in the last hour."""

    model_config = example(
        userId=_USER,
        version=7,
        sessionsAfter=_SESSION,
        exceptSession=None,
        role="user",
        revokedAt="2026-01-31T13:00:00Z",
    )
    subject: ClassVar[str] = "revocations.user.{userId}"

    user_id: UUID
    version: int = Field(description="Number of the revocation of this user: a lower one never replaces a higher one.")
    sessions_after: UUID | None = Field(
        description="Sessions with an id up to this one have ended (UUIDv7, so in the order of their creation)."
    )
    except_session: UUID | None = Field(description="The one of those that stays.")
    role: Role = Field(description="The role with which a token of the user counts, whatever the token says.")
    revoked_at: Instant

    @property
    def key(self) -> str:
        """Id of the user."""
        return str(self.user_id)
