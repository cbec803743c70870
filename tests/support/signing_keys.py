"""Signing keys that are created once per process: to seal a key and to open it takes 50 ms each."""

from datetime import timedelta
from functools import cache

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from pydantic import SecretStr

from apps.users.keys import new_key, open_key
from apps.users.models import SigningKey
from kit.tokens import Signer

SECRET = SecretStr("a secret of the tests")


@cache
def _key(number: int) -> tuple[SigningKey, EllipticCurvePrivateKey]:
    key = new_key(SECRET)
    return key, open_key(key, SECRET)


def signing_key(number: int = 0) -> SigningKey:
    """Return the key with this number as a new database row, sealed with `SECRET`."""
    return SigningKey(**_key(number)[0].model_dump())


def signer(lifetime: timedelta, number: int = 0) -> Signer:
    """Return a signer with the key of this number."""
    key, private = _key(number)
    return Signer(key.kid, private, lifetime)
