"""The private keys that sign: created, and encrypted with JWT_SECRET for the database."""

import asyncio
import os
from base64 import urlsafe_b64encode

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)
from pydantic import SecretStr
from uuid_utils.compat import uuid7

from apps.users.errors import UnknownSeal, WrongSecret
from apps.users.key_models import SigningKey
from contracts.keys import JsonWebKey
from kit.tokens import ALGORITHM

_FORMAT = b"\x01"
"""First byte of a sealed key. It stands for scrypt with the parameters below and AES-256-GCM."""


def _cipher(secret: SecretStr, salt: bytes) -> AESGCM:
    # scrypt, because a person may have chosen the secret; 16 MiB and 50 ms, once per start.
    key = Scrypt(salt=salt, length=32, n=2**14, r=8, p=1).derive(secret.get_secret_value().encode())
    return AESGCM(key)


def _seal(plain: bytes, secret: SecretStr, kid: str) -> bytes:
    salt, nonce = os.urandom(16), os.urandom(12)
    return _FORMAT + salt + nonce + _cipher(secret, salt).encrypt(nonce, plain, kid.encode())


def _unseal(sealed: bytes, secret: SecretStr, kid: str) -> bytes:
    version, salt, nonce, rest = sealed[:1], sealed[1:17], sealed[17:29], sealed[29:]
    if version != _FORMAT:
        raise UnknownSeal(kid)
    try:
        return _cipher(secret, salt).decrypt(nonce, rest, kid.encode())
    except InvalidTag:
        raise WrongSecret(kid) from None


def _coordinate(number: int) -> str:
    return urlsafe_b64encode(number.to_bytes(32, "big")).rstrip(b"=").decode()


def new_key(secret: SecretStr) -> SigningKey:
    """Create a key on the curve P-256; its private key is sealed with `secret` and bound to its `kid`."""
    kid = uuid7().hex
    private = ec.generate_private_key(ec.SECP256R1())
    plain = private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    point = private.public_key().public_numbers()
    public = JsonWebKey(
        kty="EC", crv="P-256", alg=ALGORITHM, use="sig", kid=kid, x=_coordinate(point.x), y=_coordinate(point.y)
    )
    return SigningKey(kid=kid, sealed=_seal(plain, secret, kid), public=public.model_dump())


def open_key(key: SigningKey, secret: SecretStr) -> ec.EllipticCurvePrivateKey:
    """Return the private key. Raises `WrongSecret` if another secret sealed it, `UnknownSeal` for another format."""
    private = load_der_private_key(_unseal(key.sealed, secret, key.kid), password=None)
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise TypeError(f"signing key {key.kid} is not an elliptic-curve key")
    return private


class KeySeal:
    """Creates and opens keys with one secret; each takes 50 ms, in a thread."""

    def __init__(self, secret: SecretStr) -> None:
        self._secret = secret

    async def new(self) -> SigningKey:
        """Create a key."""
        return await asyncio.to_thread(new_key, self._secret)

    async def open(self, key: SigningKey) -> ec.EllipticCurvePrivateKey:
        """Return the private key. Raises `WrongSecret` and `UnknownSeal` as `open_key` does."""
        return await asyncio.to_thread(open_key, key, self._secret)
