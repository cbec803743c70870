"""JSON Web Tokens (RFC 7519), made and checked strictly: ES256 alone, every claim there, every key for one algorithm.

python-jose takes what it should not where it is not told otherwise: a missing `exp`, any `aud`, any `kid`, any
algorithm of the key's family. What is taken here is what `sign` makes, and nothing else.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from jose import jwk, jwt
from jose.exceptions import JOSEError
from pydantic import BaseModel, ConfigDict, ValidationError
from uuid_utils.compat import uuid7

ALGORITHM = "ES256"
ISSUER = "mkstore/users"
AUDIENCE = "mkstore"
MAX_LIFETIME = timedelta(hours=1)
"""No token is good for longer: for so long it must be remembered whose tokens are taken no more."""
_CLAIMS = ("iss", "aud", "sub", "exp", "iat", "jti")
_LONGEST = 4096


class InvalidToken(Exception):
    """A token that is none of ours, is no longer good or is no token at all."""


class UnknownKey(InvalidToken):
    """A token of a key that is not known (yet)."""

    def __init__(self, kid: str) -> None:
        super().__init__("The token is signed with an unknown key.")
        self.kid = kid


class Claims(BaseModel):
    """What a token says of its bearer."""

    model_config = ConfigDict(frozen=True)

    sub: UUID
    role: str
    jti: UUID
    iat: int
    exp: int


class Signer:
    """Makes tokens with one private key of curve P-256."""

    def __init__(self, kid: str, key: ec.EllipticCurvePrivateKey, lifetime: timedelta) -> None:
        self._kid = kid
        self._key = jwk.construct(_pem(key), ALGORITHM)  # parsed once, not per token
        self.lifetime = lifetime

    def sign(self, subject: UUID, role: str) -> str:
        """Make a token for `subject`, good from now on for the signer's lifetime."""
        now = datetime.now(UTC)
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": str(subject),
            "role": role,
            "jti": str(uuid7()),
            "iat": int(now.timestamp()),
            "exp": int((now + self.lifetime).timestamp()),
        }
        return str(jwt.encode(claims, self._key, algorithm=ALGORITHM, headers={"kid": self._kid}))


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


class Verifier:
    """Checks tokens against a set of public keys (RFC 7517), each parsed once."""

    def __init__(self, keys: Mapping[str, Mapping[str, Any]]) -> None:
        self._keys = {kid: jwk.construct(dict(key), ALGORITHM) for kid, key in keys.items()}

    def verify(self, token: str) -> Claims:
        """Return what a good token says; raises `UnknownKey` for a key to ask for, else `InvalidToken`."""
        if len(token) > _LONGEST:
            raise InvalidToken("The token is too long.")
        try:
            header = jwt.get_unverified_header(token)
        except JOSEError as error:
            raise InvalidToken("The token cannot be read.") from error
        if header.get("alg") != ALGORITHM:
            raise InvalidToken("The token's algorithm is not accepted.")
        kid = header.get("kid")
        if not isinstance(kid, str) or kid not in self._keys:
            raise UnknownKey(str(kid))
        options = {f"require_{claim}": True for claim in _CLAIMS} | {"leeway": 0}
        try:
            claims = jwt.decode(
                token, self._keys[kid], algorithms=[ALGORITHM], audience=AUDIENCE, issuer=ISSUER, options=options
            )
            found = Claims.model_validate(claims)
        except JOSEError as error:
            raise InvalidToken("The token is not valid, or no longer.") from error
        except ValidationError as error:
            raise InvalidToken("The token does not say what a token must.") from error
        if found.exp - found.iat > MAX_LIFETIME.total_seconds():
            raise InvalidToken("The token is good for too long.")
        return found
