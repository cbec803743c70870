"""Forged and malformed JSON Web Tokens."""

import base64
import hashlib
import hmac
import json
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from jose import jwk, jwt


def forged(token: str, public: dict[str, Any]) -> dict[str, str]:
    """Return forged tokens by a description of the attack, made from a valid token and the public key."""
    header, claims, signature = token.split(".")
    valid = jwt.get_unverified_claims(token)
    key = _private_key()
    kid = {"typ": "at+jwt", "kid": public["kid"]}  # whatever is wrong with a token, its type is right
    es256 = kid | {"alg": "ES256"}
    pem = jwk.construct(public, "ES256").to_pem()
    admin = _part(valid | {"role": "admin"})
    without = {name: {k: v for k, v in valid.items() if k != name} for name in ("exp", "aud", "iss", "sub", "jti")}
    return {
        "truncated": token[:-10],
        "without a signature": f"{header}.{claims}.",
        "of two parts": f"{header}.{claims}",
        "of one part": "x",
        "of dots": "..",
        "of one dot": ".",
        "with other claims": f"{header}.{admin}.{signature}",
        "with alg none": f"{_part({'alg': 'none', 'typ': 'at+jwt'} | kid)}.{claims}.",
        "with alg none and a signature": f"{_part({'alg': 'none', 'typ': 'at+jwt'} | kid)}.{claims}.{signature}",
        "with the public key as HS256 secret": _hs256(claims, kid, pem),
        "with the JWK as HS256 secret": _hs256(claims, kid, json.dumps(public).encode()),
        "of another key under the same kid": jwt.encode(valid, key, algorithm="ES256", headers=kid),
        "of another key under another kid": jwt.encode(valid, key, algorithm="ES256", headers=kid | {"kid": "mine"}),
        "of another key with a JWK header": jwt.encode(valid, key, "ES256", headers=kid | {"jwk": public}),
        "expired": jwt.encode(valid | {"exp": valid["iat"] - 10}, key, algorithm="ES256", headers=kid),
        "with a kid that is not text": f"{_part(es256 | {'kid': {'a': 1}})}.{claims}.{signature}",
        "with a NUL in its kid": f"{_part(es256 | {'kid': chr(0)})}.{claims}.{signature}",
        "with claims that are a list": f"{header}.{_part([1])}.{signature}",
        "with a header that is a list": f"{_part([1])}.{claims}.{signature}",
        "deeply nested": f"{_encode(b'[' * 3000)}.{claims}.{signature}",
        "too long": f"{token}{'A' * 20_000}",
    } | {f"without {name}": jwt.encode(some, key, algorithm="ES256", headers=kid) for name, some in without.items()}


def _hs256(claims: str, kid: dict[str, str], secret: bytes) -> str:
    signed = f"{_part({'alg': 'HS256', 'typ': 'at+jwt'} | kid)}.{claims}"
    return f"{signed}.{_encode(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}"


def _private_key() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _part(value: object) -> str:
    return _encode(json.dumps(value).encode())


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
