"""Signing keys: created once, stored in the database encrypted with JWT_SECRET, and loaded as a signer."""

import asyncio
import os
from base64 import urlsafe_b64encode
from collections.abc import Callable
from datetime import timedelta

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
from apps.users.models import SigningKey
from apps.users.repository import SigningKeys
from contracts.keys import JsonWebKey
from kit.tokens import ALGORITHM, Signer

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


async def load_signer(open_keys: Callable[[], SigningKeys], secret: SecretStr, lifetime: timedelta) -> Signer:
    """Return a signer with the active key of the database; create the key if there is none.

    Processes that start at the same time agree on one key. Raises `WrongSecret` and `UnknownSeal` as `open_key` does.
    """
    async with open_keys() as keys:
        key = await keys.active()
    if key is None:
        created = await asyncio.to_thread(new_key, secret)
        async with open_keys() as keys:
            await keys.insert_if_none(created)
        async with open_keys() as keys:
            key = await keys.active()
    if key is None:
        raise RuntimeError("the new signing key was retired at once")
    private = await asyncio.to_thread(open_key, key, secret)
    return Signer(key.kid, private, lifetime)
