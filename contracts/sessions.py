"""Sessions: sign-in, refresh tokens and their end, over requests and events of the users service."""

from enum import StrEnum
from typing import ClassVar, Self
from uuid import UUID

from pydantic import Field, model_validator

from contracts.base import Done, Event, Instant, Message, Request, Text, example
from contracts.users import GivenPassword

_SESSION = {
    "id": "0198c5d0-11f4-7b60-8a55-0c9d3f6e7a10",
    "userId": "0198c5c8-7c1e-7a52-9d3b-4f1e8a6b2c01",
    "device": "Mozilla/5.0 (X11; Linux x86_64)",
    "address": "203.0.113.7",
    "createdAt": "2026-01-31T12:00:00Z",
    "lastUsedAt": "2026-01-31T12:00:00Z",
}
_REFRESH_TOKEN = "AZjF0BH0e2CKVQydP256EAAAAAAAAAAAq3m0..."  # noqa: S105 - an example

MAX_DEVICE_LENGTH = 256
"""Characters of a `User-Agent` that a session keeps."""


class SessionView(Message):
    """A session of a user: one sign-in, on one device, until it ends."""

    model_config = example(**_SESSION)

    id: UUID
    user_id: UUID
    device: str = Field(description="`User-Agent` of the client at its last use, cut at 256 characters.")
    address: str = Field(description="Address of the client at its last use.")
    created_at: Instant
    last_used_at: Instant = Field(description="Time of the sign-in or of the last refresh.")


class IssuedSession(SessionView):
    """A session with its tokens: an access token (RFC 9068), and a refresh token that rotates at each use."""

    model_config = example(
        **_SESSION, accessToken="eyJhbGciOiJFUzI1NiIs...", expiresIn=900, refreshToken=_REFRESH_TOKEN
    )

    access_token: str = Field(repr=False)
    expires_in: int = Field(description="Lifetime of the access token in seconds.")
    refresh_token: str = Field(repr=False)


class SessionList(Message):
    """The sessions of a user, the most recently used first."""

    model_config = example(data=[_SESSION])

    data: tuple[SessionView, ...]


class Authenticate(Request[IssuedSession]):
    """Begin a session with an email and a password.

    Unknown user, wrong password and disabled user get the same refusal after the same time.
    """

    model_config = example(
        email="ada@example.com",
        password="correct horse battery",
        device=_SESSION["device"],
        address=_SESSION["address"],
    )
    subject: ClassVar[str] = "users.authenticate"

    email: Text = Field(max_length=1024)
    password: GivenPassword
    device: Text = Field("", max_length=MAX_DEVICE_LENGTH)
    address: Text = Field("", max_length=MAX_DEVICE_LENGTH)


class RefreshSession(Request[IssuedSession]):
    """Exchange a refresh token for new tokens of its session.

    The token before the current one, and any older one within 10 seconds of the last exchange, gets the current one
    again: its client lost the response. An older one after that time ends the session, since two have a copy of it.
    """

    model_config = example(refreshToken=_REFRESH_TOKEN, device=_SESSION["device"], address=_SESSION["address"])
    subject: ClassVar[str] = "users.refresh"

    refresh_token: str = Field(max_length=1024, repr=False)
    device: Text = Field("", max_length=MAX_DEVICE_LENGTH)
    address: Text = Field("", max_length=MAX_DEVICE_LENGTH)


class ListSessions(Request[SessionList]):
    """Return the sessions of a user that have not ended."""

    model_config = example(userId=_SESSION["userId"])
    subject: ClassVar[str] = "users.sessions"

    user_id: UUID


class RevokeSessions(Request[Done]):
    """End one session, or all sessions of a user except one.

    For a user the gateway names the user: a session of another one is not found. An operator may name the session only.
    """

    model_config = example(userId=_SESSION["userId"], sessionId=_SESSION["id"])
    subject: ClassVar[str] = "users.revoke"

    user_id: UUID | None = Field(None, description="The user whose sessions end; null for that of the session.")
    session_id: UUID | None = Field(None, description="The session to end; null for all.")
    except_session: UUID | None = Field(None, description="The session that stays when all others end.")

    @model_validator(mode="after")
    def _names_something(self) -> Self:
        if self.user_id is None and self.session_id is None:
            raise ValueError("a user or a session is required")
        return self


class EndReason(StrEnum):
    """Why a session ended before its time."""

    SIGNED_OUT = "signed-out"
    REFRESH_REUSE = "refresh-reuse"
    """An old refresh token was used: two have a copy of it."""
    TOO_MANY = "too-many"
    """The user has more than 100 sessions, and this one was the least recently used."""
    PASSWORD_CHANGED = "password-changed"  # noqa: S105 - a reason
    EMAIL_CHANGED = "email-changed"
    DISABLED = "disabled"
    DELETED = "deleted"


class SessionRevoked(Event):
    """A session ended before its time: no token of it is valid any more."""

    model_config = example(
        id=_SESSION["id"], userId=_SESSION["userId"], reason="signed-out", revokedAt="2026-01-31T13:00:00Z"
    )
    subject: ClassVar[str] = "session.revoked"

    id: UUID
    user_id: UUID
    reason: EndReason
    revoked_at: Instant

    @property
    def aggregate_id(self) -> UUID:
        """Id of the session."""
        return self.id

    @property
    def aggregate_version(self) -> int:
        """1: a session ends once."""
        return 1
