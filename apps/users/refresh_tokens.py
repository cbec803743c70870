"""Refresh tokens: signed with a key of their session, so that nothing of a token is stored (RFC 9700, 4.14).

A token is the session's id, a number that counts from 0, and the HMAC-SHA-256 of both (RFC 2104), in base64url without
padding. The key is in the session's row, encrypted; so the current token can be issued again to a client that lost it.
"""

import hmac
import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import NamedTuple
from uuid import UUID

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from pydantic import SecretStr

from apps.users.models import Session

_KEY_SIZE = 32
_NONCE_SIZE = 12
_SIGNED = 16 + 8
_SIZE = _SIGNED + 32
_SALT = b"mkstore refresh tokens"


class RefreshToken(NamedTuple):
    """A refresh token as it was received; its signature is not verified."""

    session: UUID
    counter: int
    signature: bytes


def read(text: str) -> RefreshToken | None:
    """Return the parts of a refresh token; None for text that is not one."""
    try:
        content = urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
    except ValueError:
        return None
    if len(content) != _SIZE or urlsafe_b64encode(content).rstrip(b"=") != text.encode("ascii"):
        return None
    return RefreshToken(UUID(bytes=content[:16]), int.from_bytes(content[16:_SIGNED], "big"), content[_SIGNED:])


class SessionKeys:
    """The keys of refresh tokens, encrypted with `secret` (AES-256-GCM) and bound to their session."""

    def __init__(self, secret: SecretStr) -> None:
        # scrypt, because a person may have chosen the secret: 16 MiB and 50 ms, once per process. The salt is constant,
        # since one secret seals all rows.
        key = Scrypt(salt=_SALT, length=_KEY_SIZE, n=2**14, r=8, p=1).derive(secret.get_secret_value().encode())
        self._cipher = AESGCM(key)

    def new(self, session: UUID) -> bytes:
        """Return a new key for a session, encrypted."""
        nonce = os.urandom(_NONCE_SIZE)
        return nonce + self._cipher.encrypt(nonce, os.urandom(_KEY_SIZE), session.bytes)

    def current_token(self, session: Session) -> str:
        """Return the current refresh token of a session."""
        signed = session.id.bytes + session.counter.to_bytes(8, "big")
        return urlsafe_b64encode(signed + self._sign(session, signed)).rstrip(b"=").decode()

    def has_issued(self, session: Session, token: RefreshToken) -> bool:
        """Return whether the session has issued this token, at any time."""
        signed = token.session.bytes + token.counter.to_bytes(8, "big")
        is_signed = hmac.compare_digest(self._sign(session, signed), token.signature)
        return is_signed and token.session == session.id and token.counter <= session.counter

    def _sign(self, session: Session, signed: bytes) -> bytes:
        nonce, sealed = session.sealed[:_NONCE_SIZE], session.sealed[_NONCE_SIZE:]
        return hmac.digest(self._cipher.decrypt(nonce, sealed, session.id.bytes), signed, "sha256")
