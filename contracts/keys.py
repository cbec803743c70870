"""The keys that sign access tokens: public keys, and their rotation."""

from enum import StrEnum
from typing import ClassVar
from uuid import UUID

from pydantic import Field

from contracts.base import Event, Instant, Message, Request, State, example

_KEY = {"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "0198c5c8", "x": "f83OJ3D2", "y": "x_FEzRu9"}


class JsonWebKey(Message):
    """A public key on the curve P-256 (RFC 7517, RFC 7518)."""

    model_config = example(**_KEY)

    kty: str
    crv: str
    alg: str
    use: str
    kid: str
    x: str
    y: str


class JsonWebKeySet(Message):
    """The public keys that verify current tokens (RFC 7517)."""

    model_config = example(keys=[_KEY])

    keys: tuple[JsonWebKey, ...]


class GetKeys(Request[JsonWebKeySet]):
    """Return the public keys that verify tokens."""

    model_config = example()
    subject: ClassVar[str] = "users.jwks"


class KeyState(StrEnum):
    """What a signing key is used for."""

    NEXT = "next"
    """It is published and does not sign yet."""
    ACTIVE = "active"
    """It signs access tokens."""
    RETIRED = "retired"
    """It is published until the last token that it signed has expired."""


_NEXT_KEY = {
    "kid": "0198c5c87c1e7a529d3b4f1e8a6b2c01",
    "state": "next",
    "createdAt": "2026-02-01T11:55:00Z",
    "signsFrom": "2026-02-01T12:00:00Z",
    "leavesAt": None,
}


class SigningKeyView(Message):
    """A signing key as an operator sees it: nothing of the key itself."""

    model_config = example(**_NEXT_KEY)

    kid: str
    state: KeyState
    created_at: Instant
    signs_from: Instant | None = Field(
        description="Time from which it signs; of the next key the earliest one, and null until it is published."
    )
    leaves_at: Instant | None = Field(description="Time at which a retired key is published no longer; null before.")


class SigningKeyList(Message):
    """The signing keys that are published or will be, the newest first."""

    model_config = example(data=[_NEXT_KEY])

    data: tuple[SigningKeyView, ...]


class ListKeys(Request[SigningKeyList]):
    """Return the signing keys and their states.

    For operators.
    """

    model_config = example()
    subject: ClassVar[str] = "users.list_keys"


class RotateKey(Request[SigningKeyView]):
    """Create and publish the next signing key; the users service signs with it after the cache time.

    For operators. Refused while there is a next key already.
    """

    model_config = example()
    subject: ClassVar[str] = "users.rotate_key"


class WithdrawKey(Request[SigningKeyList]):
    """Withdraw a signing key at once, such as one that leaked: no token that it signed is valid any more.

    For operators. If it was the active key, the next one signs from now on; there is a new one if there was none. The
    sessions stay: a client gets a new access token for its refresh token.
    """

    model_config = example(kid="0198c5c87c1e7a529d3b4f1e8a6b2c01")
    subject: ClassVar[str] = "users.withdraw_key"

    kid: str = Field(min_length=1, max_length=64)


class PublicKeys(State, JsonWebKeySet):
    """The public keys that verify access tokens, also the one that signs next (RFC 7517)."""

    model_config = example(keys=[_KEY, _KEY | {"kid": "0198c5c9"}])
    subject: ClassVar[str] = "public_keys.current"

    @property
    def key(self) -> str:
        """Empty: there is one set."""
        return ""


class KeyRotated(Event):
    """Another key signs access tokens from now on; the ones before verify until their last token has expired."""

    model_config = example(kid="0198c5c87c1e7a529d3b4f1e8a6b2c01", rotatedAt="2026-02-01T12:00:00Z")
    subject: ClassVar[str] = "key.rotated"

    kid: str
    rotated_at: Instant

    @property
    def aggregate_id(self) -> UUID:
        """Id of the key."""
        return UUID(self.kid)

    @property
    def aggregate_version(self) -> int:
        """1: a key begins to sign once."""
        return 1
