"""Logins of NATS in files: seeds of nkeys, and .creds files of an operator with one account."""

import base64
import binascii
import hashlib
import json
import secrets
import time
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from kit.runtime.nkeys import Nkey
from mkstore.stack.servers import NatsServer

_ACCOUNT, _OPERATOR = 0, 14 << 3
"""The types of keys: the first bits, which become the letters A and O."""


def new_seed() -> tuple[Nkey, str]:
    """Return the nkey of a new user, and its seed."""
    return Nkey.of_private(secrets.token_bytes(32))


def write_seed(path: Path, seed: str) -> str:
    """Write a seed to a file, as `nsc` and `nk` do, and return the path."""
    path.write_text(f"{seed}\n")
    return str(path)


class Issuer:
    """An operator or an account, which signs JWTs."""

    def __init__(self, kind: int) -> None:
        self._key = Ed25519PrivateKey.generate()
        body = bytes([kind]) + self._key.public_key().public_bytes_raw()
        checksum = binascii.crc_hqx(body, 0).to_bytes(2, "little")
        self.public = base64.b32encode(body + checksum).decode().rstrip("=")

    def sign(self, subject: str, kind: str, **claims: Any) -> str:
        """Return signed claims about a public key, in the format of NATS (github.com/nats-io/jwt, version 2)."""
        body = {"iat": int(time.time()), "iss": self.public, "sub": subject, "name": kind}
        body |= {"nats": {"type": kind, "version": 2, **claims}}
        digest = hashlib.new("sha512_256", json.dumps(body).encode()).digest()
        body["jti"] = base64.b32encode(digest).decode().rstrip("=")
        signed = f"{_part({'typ': 'JWT', 'alg': 'ed25519-nkey'})}.{_part(body)}"
        signature = base64.urlsafe_b64encode(self._key.sign(signed.encode())).decode().rstrip("=")
        return f"{signed}.{signature}"


class JwtServer(NatsServer):
    """A nats-server that trusts an operator: it knows an account, and the account's users prove who they are."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.operator, self.account = Issuer(_OPERATOR), Issuer(_ACCOUNT)

    def configuration(self) -> dict[str, object]:
        """Return the configuration with the operator in place of accounts and passwords."""
        configuration = super().configuration()
        del configuration["accounts"]
        unlimited = dict.fromkeys(("subs", "data", "payload", "imports", "exports", "conn", "leaf"), -1)
        storage = {"mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1}
        system, sign = Issuer(_ACCOUNT).public, self.operator.sign
        accounts = {
            self.account.public: sign(self.account.public, "account", limits=unlimited | storage),
            system: sign(system, "account", limits=unlimited),
        }
        return configuration | {
            "operator": sign(self.operator.public, "operator", system_account=system),
            "resolver": "MEMORY",
            "resolver_preload": accounts,
        }

    def write_creds(self, path: Path) -> str:
        """Write the .creds file of a new user of the account, and return the path."""
        user, seed = new_seed()
        token = self.account.sign(user.public, "user", subs=-1, data=-1, payload=-1)
        path.write_text(
            f"-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n"
            f"-----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        )
        return str(path)


def _part(content: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")
