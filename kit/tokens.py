"""JSON Web Tokens (RFC 7519), signed and verified strictly: ES256 only, all claims required, one algorithm per key.

By default python-jose accepts a missing `exp`, any `aud`, any `kid`, any `typ`, an unknown `crit`, an `iat` in the
future and any algorithm of the key's family. `Verifier` accepts only tokens like those that `Signer` makes (RFC 9068).
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from jose import jwk, jwt
from jose.exceptions import JOSEError
from pydantic import BaseModel, ConfigDict, ValidationError
from uuid_utils.compat import uuid7

from contracts.users import Role
from kit.runtime.clock import SYSTEM_CLOCK, SystemClock

ALGORITHM = "ES256"
ISSUER = "mkstore/users"
AUDIENCE = "mkstore"
MAX_LIFETIME = timedelta(hours=1)
"""Maximum lifetime of a token; a revoked user must be remembered for that long."""
_CLAIMS = ("iss", "aud", "sub", "exp", "iat", "jti")
_TYPE = "at+jwt"
"""The media type of an access token (RFC 9068): no other token signed with the same key counts as one."""
_MAX_CLOCK_SKEW = 5
"""Seconds that the clock of the issuer may be ahead."""
_ROLES = frozenset(Role)
_MAX_LENGTH = 4096
"""Characters."""
_EXPIRED = "The token is invalid or expired."
_CACHE_SIZE = 10_000
"""Verified tokens that one process caches, about 1.5 kB each."""


class InvalidToken(Exception):
    """The token is malformed, expired or not issued by this store."""


class UnknownKey(InvalidToken):
    """The token is signed with a key that is not, or not yet, known."""

    def __init__(self, kid: str) -> None:
        super().__init__("The token is signed with an unknown key.")
        self.kid = kid


class Claims(BaseModel):
    """The claims of a verified token."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    sub: UUID
    sid: UUID
    role: str
    jti: UUID
    iat: int
    exp: int


class Signer:
    """Signs tokens with one private key on curve P-256, by the time of `clock`."""

    def __init__(
        self, kid: str, key: ec.EllipticCurvePrivateKey, lifetime: timedelta, *, clock: SystemClock = SYSTEM_CLOCK
    ) -> None:
        self._kid = kid
        self._key = jwk.construct(_pem(key), ALGORITHM)  # parsed once, not per token
        self.lifetime = lifetime
        self._clock = clock

    def sign(self, subject: UUID, role: str, session: UUID) -> str:
        """Return a token for `subject` in `session`, valid from now for the signer's lifetime."""
        now = self._clock.now()
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": str(subject),
            "sid": str(session),
            "role": role,
            "jti": str(uuid7()),
            "iat": int(now.timestamp()),
            "exp": int((now + self.lifetime).timestamp()),
        }
        return str(jwt.encode(claims, self._key, algorithm=ALGORITHM, headers={"typ": _TYPE, "kid": self._kid}))


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


class Verifier:
    """Verifies tokens against a set of public keys (RFC 7517), each parsed once.

    Caches the claims of `cache_size` verified tokens until they expire, since ES256 and the checks around it cost 120
    to 165 µs. The cache key is the whole token, signature included. A refused token is not cached. New keys need a new
    verifier, so its cache begins empty. `clock` returns Unix time, in seconds.
    """

    def __init__(
        self,
        keys: Mapping[str, Mapping[str, Any]],
        *,
        cache_size: int = _CACHE_SIZE,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._keys = {kid: jwk.construct(dict(key), ALGORITHM) for kid, key in keys.items()}
        self._cache_size = cache_size
        self._clock = clock
        self._cache: OrderedDict[str, Claims] = OrderedDict()

    @property
    def cached(self) -> tuple[str, ...]:
        """The cached tokens, least recently used first."""
        return tuple(self._cache)

    def verify(self, token: str) -> Claims:
        """Return the claims of a valid token.

        Raises `UnknownKey` if the key is not in the set, which the caller may refresh, else `InvalidToken`.
        """
        claims = self._cache.get(token)
        if claims is None:
            claims = self._check(token)
            self._cache[token] = claims
            if len(self._cache) > self._cache_size:
                self._cache.popitem(last=False)
        else:
            self._cache.move_to_end(token)
        if claims.exp <= self._clock():
            del self._cache[token]
            raise InvalidToken(_EXPIRED)
        return claims

    def known(self, token: str) -> Claims | None:
        """Return the claims of a cached token, or None if it is not cached or has expired; verify nothing."""
        claims = self._cache.get(token)
        if claims is None or claims.exp <= self._clock():
            return None
        self._cache.move_to_end(token)
        return claims

    def _check(self, token: str) -> Claims:
        key = self._keys[self._kid(token)]
        options = {f"require_{claim}": True for claim in _CLAIMS} | {"leeway": 0}
        try:
            claims = jwt.decode(token, key, algorithms=[ALGORITHM], audience=AUDIENCE, issuer=ISSUER, options=options)
            verified = Claims.model_validate(claims)
        except JOSEError as error:
            raise InvalidToken(_EXPIRED) from error
        except ValidationError as error:
            raise InvalidToken("The token has invalid claims.") from error
        if verified.exp - verified.iat > MAX_LIFETIME.total_seconds():
            raise InvalidToken("The lifetime of the token is too long.")
        if verified.iat > self._clock() + _MAX_CLOCK_SKEW:
            raise InvalidToken("The token is not valid yet.")
        if verified.role not in _ROLES:
            raise InvalidToken("The token has an unknown role.")
        return verified

    def _kid(self, token: str) -> str:
        """Return the id of the key that an access token names in its header; its signature is not verified yet."""
        if len(token) > _MAX_LENGTH:
            raise InvalidToken("The token is too long.")
        try:
            header = jwt.get_unverified_header(token)
        except JOSEError as error:
            raise InvalidToken("The token cannot be read.") from error
        if header.get("alg") != ALGORITHM:
            raise InvalidToken("The token's algorithm is not accepted.")
        if header.get("typ") != _TYPE:
            raise InvalidToken("The token is not an access token.")
        if "crit" in header:  # python-jose ignores it; RFC 7515 demands that what is not understood is refused
            raise InvalidToken("The token has critical header parameters.")
        kid = header.get("kid")
        if not isinstance(kid, str) or kid not in self._keys:
            raise UnknownKey(str(kid))
        return kid
