"""Access tokens: verified with the users service's public keys, and refused when their session has ended."""

from uuid import UUID

from apps.gateway.errors import Forbidden, Unauthorized
from apps.gateway.http.backpressure import remaining
from apps.gateway.public_keys import PublishedKeys
from apps.gateway.revocations import Revocations
from contracts.users import Role
from kit.tokens import Claims, InvalidToken


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


class TokenVerifier:
    """Verifies access tokens with `keys`, and refuses those of sessions that have ended, according to `revocations`.

    `timeout` is in seconds.
    """

    def __init__(self, keys: PublishedKeys, revocations: Revocations, timeout: float = 2.0) -> None:
        self._keys = keys
        self._revocations = revocations
        self._timeout = timeout

    async def claims(self, token: str) -> Claims:
        """Verify a token and return its claims.

        Raises `Unauthorized` if the token is invalid or its session has ended, `Unavailable` if the revocations are not
        known yet or there are no current keys.
        """
        await self._revocations.wait_caught_up(remaining(self._timeout))
        try:
            claims = await self._keys.verify(token)
        except InvalidToken as error:
            raise Unauthorized(str(error), "invalid_token") from error
        current = self._revocations.check(claims)
        if current is None:
            raise Unauthorized("The session of this token has ended: sign in again.", "invalid_token")
        return current

    def known(self, token: str) -> Claims | None:
        """Return the claims of a token that was verified before; None if it was not, has expired or has ended."""
        claims = self._keys.known(token)
        return None if claims is None else self._revocations.check(claims)
