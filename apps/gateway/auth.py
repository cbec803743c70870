"""Access tokens: verified with the users service's public keys, and refused when their session has ended."""

import time
from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

from apps.gateway.errors import Forbidden, Unauthorized
from apps.gateway.http.backpressure import remaining, with_deadline
from apps.gateway.revocations import Revocations
from contracts.keys import GetKeys, JsonWebKeySet
from contracts.users import Role
from kit.batching import BatchLoader
from kit.errors import OutcomeUnknown, Unavailable
from kit.tokens import Claims, InvalidToken, UnknownKey, Verifier


class Caller:
    """The user whose access token came with the request."""

    def __init__(self, claims: Claims) -> None:
        self.claims = claims
        self.id = claims.sub
        self.session = claims.sid
        self.is_admin = claims.role == Role.ADMIN

    def may_see(self, user: UUID) -> bool:
        """Return whether the caller may see what belongs to `user`."""
        return self.is_admin or user == self.id

    def require_admin(self) -> None:
        """Refuse anybody else. Raises `Forbidden` if the caller is not an admin."""
        if not self.is_admin:
            raise Forbidden("This is for admins.")


class JwksVerifier:
    """Verifies access tokens and refuses those of sessions that have ended, according to `revocations`.

    `fetch` gets the public keys: at the first token, and again for an unknown `kid`, which anybody can send; so at most
    once per `refetch_interval` seconds. `timeout` is in seconds, `clock` is monotonic.
    """

    def __init__(
        self,
        fetch: Callable[[GetKeys], Awaitable[JsonWebKeySet]],
        revocations: Revocations,
        timeout: float = 2.0,
        *,
        refetch_interval: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch = fetch
        self._revocations = revocations
        self._timeout = timeout
        self._refetch_interval = refetch_interval
        self._clock = clock
        self._keys = JsonWebKeySet(keys=())
        self._verifier: Verifier | None = None
        self._fetched_at = 0.0
        self._loader: BatchLoader[None, Verifier] = BatchLoader(self._load, in_flight=1)

    async def claims(self, token: str) -> Claims:
        """Verify a token and return its claims.

        Raises `Unauthorized` if the token is invalid or its session has ended, `Unavailable` if no key was ever fetched
        or the revocations are not known yet.
        """
        await self._revocations.wait_caught_up(remaining(self._timeout))
        try:
            claims = await self._verified(token)
        except InvalidToken as error:
            raise Unauthorized(str(error), "invalid_token") from error
        current = self._revocations.check(claims)
        if current is None:
            raise Unauthorized("The session of this token has ended: sign in again.", "invalid_token")
        return current

    def known(self, token: str) -> Claims | None:
        """Return the claims of a token that was verified before; None if it was not, has expired or has ended."""
        claims = self._verifier.known(token) if self._verifier else None
        return None if claims is None else self._revocations.check(claims)

    async def keys(self) -> JsonWebKeySet:
        """Return the current public keys; while the users service is unavailable, the cached ones."""
        try:
            await self._current()
        except (Unavailable, OutcomeUnknown):
            if self._verifier is None:
                raise
        return self._keys

    async def _verified(self, token: str) -> Claims:
        verifier = self._verifier or await self._current()
        try:
            return verifier.verify(token)
        except UnknownKey:
            return (await self._current()).verify(token)

    async def _current(self) -> Verifier:
        return await with_deadline(self._loader, None, self._timeout, "users service")

    async def _load(self, waiting: Sequence[None]) -> list[Verifier]:
        """Fetch the keys once for all that wait, unless they were fetched a moment ago."""
        if self._verifier is None or self._clock() - self._fetched_at > self._refetch_interval:
            keys = await self._fetch(GetKeys())
            if self._verifier is None or keys != self._keys:  # a new verifier has cached no token of a removed key
                self._keys = keys
                self._verifier = Verifier({key.kid: key.model_dump() for key in keys.keys})
            self._fetched_at = self._clock()
        return [self._verifier for _ in waiting]
