"""Logins of NATS in files: nkeys (Ed25519 keys in the format of NATS) and .creds files, which have a JWT too.

nats-py uses the package nkeys for them, which has no wheel, and images install wheels only.
"""

import base64
import binascii
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

_CREDS = re.compile(r"BEGIN NATS USER JWT-+\s+(\S+)\s.*BEGIN USER NKEY SEED-+\s+(\S+)\s", re.DOTALL)
_SEED_LENGTH = 58
_SEED, _USER = 18 << 3, 20 << 3
"""The types of a seed and of a user's key: the first bits, which become the letters S and U."""


class NotALogin(ValueError):
    """What a file contains is neither a .creds file nor the seed of a user's nkey."""

    def __init__(self) -> None:
        super().__init__("neither a .creds file nor the seed of a user's nkey (SU...)")


@dataclass(frozen=True)
class Nkey:
    """The nkey of a user: the public key, such as `UA...`, and the private one."""

    public: str
    private: bytes = field(repr=False)

    @classmethod
    def of_seed(cls, seed: str) -> Self:
        """Return the key of a user's seed, such as `SUA...`. Raises `NotALogin`."""
        try:
            raw = base64.b32decode(seed + "=" * (-len(seed) % 8))
        except binascii.Error as error:
            raise NotALogin from error
        body, checksum = raw[:-2], raw[-2:]
        kind = (body[0] & 7) << 5 | body[1] >> 3 if len(seed) == _SEED_LENGTH else None
        if kind != _USER or body[0] & 0xF8 != _SEED or checksum != _checksum(body):
            raise NotALogin
        private = body[2:]
        public = bytes([_USER]) + _key(private).public_key().public_bytes_raw()
        return cls(base64.b32encode(public + _checksum(public)).decode(), private)

    @classmethod
    def of_private(cls, private: bytes) -> tuple[Self, str]:
        """Return the key of 32 random bytes, and its seed."""
        body = bytes([_SEED | _USER >> 5, (_USER & 31) << 3]) + private
        seed = base64.b32encode(body + _checksum(body)).decode().rstrip("=")
        return cls.of_seed(seed), seed

    def sign(self, nonce: str) -> bytes:
        """Return the signature of the server's challenge, in base64."""
        return base64.b64encode(_key(self.private).sign(nonce.encode()))


@dataclass(frozen=True)
class FileLogin:
    """A login that stands in a file: an nkey, and its JWT if it is a .creds file."""

    key: Nkey
    jwt: str = field(default="", repr=False)

    @classmethod
    def read(cls, path: str) -> Self:
        """Read a .creds file or a seed. Raises `OSError`, or `NotALogin` if it is neither."""
        text = Path(path).read_text("utf-8", errors="replace")
        if creds := _CREDS.search(text):
            return cls(Nkey.of_seed(creds[2]), creds[1])
        return cls(Nkey.of_seed(text.strip()))


def _key(private: bytes) -> Any:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415 - few use nkeys

    return Ed25519PrivateKey.from_private_bytes(private)


def _checksum(body: bytes) -> bytes:
    return binascii.crc_hqx(body, 0).to_bytes(2, "little")
