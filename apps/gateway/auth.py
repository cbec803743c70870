"""Whose token it is: checked with the users service's public keys, which are asked for once and kept."""

import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from uuid import UUID

from apps.gateway.errors import Unauthorized
from apps.gateway.http.backpressure import with_deadline
from contracts.users import GetKeys, JsonWebKeySet
from kit.batching import BatchLoader
from kit.errors import OutcomeUnknown, Unavailable
from kit.tokens import MAX_LIFETIME, Claims, InvalidToken, UnknownKey, Verifier

_ASK_AGAIN_SECONDS = 5.0
"""So often at most an unknown `kid` makes the gateway ask: anybody can send one."""


class JwksVerifier:
    """The public keys that tokens are checked with, and the users whose tokens are good no more."""

    def __init__(self, fetch: Callable[[GetKeys], Awaitable[JsonWebKeySet]], timeout: float = 2.0) -> None:
        self._fetch = fetch
        self._timeout = timeout
        self._keys = JsonWebKeySet(keys=())
        self._verifier: Verifier | None = None
        self._asked = 0.0
        self._asking: BatchLoader[None, Verifier] = BatchLoader(self._ask, in_flight=1)
        self._revoked: dict[UUID, float] = {}

    async def claims(self, token: str) -> Claims:
        """Return what a good token says; raises `Unauthorized`, and `Unavailable` when no key was ever had."""
        try:
            claims = await self._verified(token)
        except InvalidToken as error:
            raise Unauthorized(str(error), "invalid_token") from error
        if claims.iat <= self._revoked.get(claims.sub, 0):
            raise Unauthorized("The user of this token is gone or disabled.", "invalid_token")
        return claims

    async def keys(self) -> JsonWebKeySet:
        """Return the public keys: today's, or while nobody tells those that are known."""
        try:
            await self._newest()
        except (Unavailable, OutcomeUnknown):
            if self._verifier is None:
                raise
        return self._keys

    def revoke(self, user: UUID, until: datetime) -> None:
        """Take no token of this user any more that was issued until then."""
        self._revoked[user] = max(until.timestamp(), self._revoked.get(user, 0))
        if len(self._revoked) % 1000 == 0:  # where every token has expired since, no entry is needed
            oldest = time.time() - MAX_LIFETIME.total_seconds()
            self._revoked = {user: at for user, at in self._revoked.items() if at > oldest}

    async def _verified(self, token: str) -> Claims:
        verifier = self._verifier or await self._newest()
        try:
            return verifier.verify(token)
        except UnknownKey:
            return (await self._newest()).verify(token)

    async def _newest(self) -> Verifier:
        return await with_deadline(self._asking(None), self._timeout, "users service")

    async def _ask(self, waiting: Sequence[None]) -> list[Verifier]:
        """Ask for the keys, once for all who wait for them; not again where that was a moment ago."""
        if self._verifier is None or time.monotonic() - self._asked > _ASK_AGAIN_SECONDS:
            self._keys = await self._fetch(GetKeys())
            self._verifier = Verifier({key.kid: key.model_dump() for key in self._keys.keys})
            self._asked = time.monotonic()
        return [self._verifier for _ in waiting]
