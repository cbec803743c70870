"""Signing keys that are created once per process: to seal a key and to open it takes 50 ms each."""

from datetime import timedelta
from functools import cache
from itertools import count

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from pydantic import SecretStr

from apps.users.key_models import SigningKey
from apps.users.keys import KeySeal, new_key, open_key
from kit.tokens import Signer

SECRET = SecretStr("a secret of the tests")


_opened: dict[str, EllipticCurvePrivateKey] = {}


@cache
def _key(number: int) -> tuple[SigningKey, EllipticCurvePrivateKey]:  # noqa: ARG001 - one key for each number
    key = new_key(SECRET)
    _opened[key.kid] = open_key(key, SECRET)
    return key, _opened[key.kid]


def signing_key(number: int = 0) -> SigningKey:
    """Return the key with this number as a new database row, sealed with `SECRET`."""
    return SigningKey(**_key(number)[0].model_dump())


def signer(lifetime: timedelta, number: int = 0) -> Signer:
    """Return a signer with the key of this number."""
    key, private = _key(number)
    return Signer(key.kid, private, lifetime)


class CachedSeal(KeySeal):
    """Creates the keys with the numbers from `first` on, and opens keys that this process has created."""

    def __init__(self, first: int = 0) -> None:
        super().__init__(SECRET)
        self._numbers = count(first)

    async def new(self) -> SigningKey:
        """Return the next key."""
        return signing_key(next(self._numbers))

    async def open(self, key: SigningKey) -> EllipticCurvePrivateKey:
        """Return the private key."""
        return _opened.get(key.kid) or await super().open(key)
