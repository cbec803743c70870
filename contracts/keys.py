"""The keys that sign access tokens: public keys, and their rotation."""

from typing import ClassVar
from uuid import UUID

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
