"""What the users service has revoked: looked up at each use of a token, so that one sign-out empties no cache.

See docs/adr/0025-revocation.md.
"""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID

from contracts.revocations import SessionRevocation, UserRevocation
from contracts.users import Role
from kit.errors import NATS, Unavailable
from kit.tokens import MAX_LIFETIME, Claims

_CLEANUP_INTERVAL = 60.0
_NOBODY = UUID(int=0)
_ALL_RANDOM_BITS = (1 << 80) - 1


class Revocations:
    """The revocations of the last hour, from the stream `REVOCATIONS`.

    An entry is kept for the longest life of a token after its arrival, and so is the memory that it takes. While NATS
    is away the last state stays. `clock` is monotonic, in seconds.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._keep = MAX_LIFETIME.total_seconds()
        self._sessions: dict[UUID, float] = {}
        self._users: dict[UUID, tuple[UserRevocation, float]] = {}
        self._cleaned_at = clock()
        self.caught_up = asyncio.Event()
        """Set once everything that was revoked before the start of this process is known."""

    def apply(self, revocation: SessionRevocation | UserRevocation) -> None:
        """Take a revocation; one of a user that is older than the known one changes nothing."""
        now = self._clock()
        if isinstance(revocation, SessionRevocation):
            self._sessions[revocation.session_id] = now
        else:
            known = self._users.get(revocation.user_id)
            if known is None or known[0].version <= revocation.version:
                self._users[revocation.user_id] = (revocation, now)
        if now - self._cleaned_at > _CLEANUP_INTERVAL:
            self._clean(now)

    def apply_unknown(self, subject: str) -> None:
        """Take what stands for a revocation that cannot be read: the session, or all of the user's until now, ended.

        Another message has replaced it. The next revocation of the user says again what counts.
        """
        kind, _, name = subject.removeprefix("revocations.").partition(".")
        try:
            ended = UUID(name)
        except ValueError:
            return  # no session and no user has this subject
        now = datetime.now(UTC)
        if kind == "session":
            self.apply(SessionRevocation(session_id=ended, user_id=_NOBODY, revoked_at=now))
        elif kind == "user":
            known = self._users.get(ended)
            self.apply(
                UserRevocation(
                    user_id=ended,
                    version=known[0].version if known else 0,
                    sessions_after=_last_session_of(now),
                    except_session=None,
                    role=Role.USER,
                    revoked_at=now,
                )
            )

    def check(self, claims: Claims) -> Claims | None:
        """Return the claims with the user's present role; None if the session has ended."""
        if self._sessions and claims.sid in self._sessions:
            return None
        if not self._users or (entry := self._users.get(claims.sub)) is None:
            return claims
        user = entry[0]
        if has_ended(user, claims.sid):
            return None
        return claims if claims.role == user.role else claims.model_copy(update={"role": user.role.value})

    def has_ended(self, user: UUID, session: UUID) -> bool:
        """Return whether a session of a user has ended."""
        entry = self._users.get(user)
        return session in self._sessions or (entry is not None and has_ended(entry[0], session))

    async def wait_caught_up(self, timeout: float) -> None:  # noqa: ASYNC109 - translated to Unavailable
        """Wait until the revocations are known. Raises `Unavailable` after `timeout` seconds."""
        if self.caught_up.is_set():
            return
        try:
            async with asyncio.timeout(timeout):
                await self.caught_up.wait()
        except TimeoutError:
            raise Unavailable(NATS) from None

    @property
    def users(self) -> frozenset[UUID]:
        """The users with a revocation that may still matter."""
        return frozenset(self._users)

    @property
    def sessions(self) -> frozenset[UUID]:
        """The sessions with a revocation of their own that may still matter."""
        return frozenset(self._sessions)

    def _clean(self, now: float) -> None:
        self._cleaned_at, oldest = now, now - self._keep
        self._sessions = {session: at for session, at in self._sessions.items() if at > oldest}
        self._users = {user: entry for user, entry in self._users.items() if entry[1] > oldest}


def _last_session_of(now: datetime) -> UUID:
    """Return an id that no session which began until now exceeds (UUIDv7, RFC 9562)."""
    return UUID(int=(int(now.timestamp() * 1000) << 80) | _ALL_RANDOM_BITS)


def has_ended(user: UserRevocation, session: UUID) -> bool:
    """Return whether a revocation of a user ends this session."""
    return user.sessions_after is not None and session <= user.sessions_after and session != user.except_session
