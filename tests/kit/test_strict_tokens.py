"""Tokens that are signed with the right key and still are not access tokens."""

import time
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from jose import jwt

from apps.users.keys import open_key
from kit.tokens import InvalidToken, Signer, Verifier
from mkstore.testing.signing_keys import SECRET, signer, signing_key
from tests.support.clock import Clock

KEY = signing_key()
PRIVATE = open_key(KEY, SECRET)
PEM = PRIVATE.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
LIFETIME = timedelta(minutes=15)


def verifier(now: float | None = None) -> Verifier:
    clock = Clock()
    clock.now = time.time() if now is None else now
    return Verifier({KEY.kid: KEY.view().model_dump()}, clock=clock)


def claims(**changes: Any) -> dict[str, Any]:
    return jwt.get_unverified_claims(signer(LIFETIME).sign(uuid4(), "user", uuid4())) | changes


def signed(content: dict[str, Any], **header: Any) -> str:
    """Return a token of the right key with these claims; a header of None is left out."""
    fields = {"typ": "at+jwt", "kid": KEY.kid} | header
    return str(jwt.encode(content, PEM, algorithm="ES256", headers=fields))


def test_token_names_its_type() -> None:
    token = Signer(KEY.kid, PRIVATE, LIFETIME).sign(uuid4(), "user", uuid4())
    assert jwt.get_unverified_header(token) == {"alg": "ES256", "kid": KEY.kid, "typ": "at+jwt"}


@pytest.mark.parametrize("kind", ["JWT", "refresh+jwt", "AT+JWT", "", None, ["at+jwt"]])
def test_token_of_another_type_is_refused(kind: object) -> None:
    assert verifier().verify(signed(claims())).role == "user"
    with pytest.raises(InvalidToken):
        verifier().verify(signed(claims(), typ=kind))


@pytest.mark.parametrize("critical", [["exp"], ["b64"], [], None])
def test_critical_header_parameters_are_refused(critical: object) -> None:
    with pytest.raises(InvalidToken):
        verifier().verify(signed(claims(), crit=critical))


def test_token_from_the_future_is_refused() -> None:
    now = int(time.time())
    ahead = claims(iat=now + 6, exp=now + 900)
    with pytest.raises(InvalidToken):
        verifier(now).verify(signed(ahead))
    assert verifier(now + 1).verify(signed(ahead)).iat == now + 6


def test_fresh_token_of_the_same_second_is_valid() -> None:
    content = claims()
    assert verifier(float(content["iat"])).verify(signed(content)).iat == content["iat"]


def test_token_ends_in_the_second_that_it_names() -> None:
    content = claims()
    assert verifier(content["exp"] - 0.001).verify(signed(content)).exp == content["exp"]
    with pytest.raises(InvalidToken):
        verifier(float(content["exp"])).verify(signed(content))


@pytest.mark.parametrize("role", ["root", "", "Admin", "admin ", None, ["admin"]])
def test_unknown_role_is_refused(role: object) -> None:
    assert verifier().verify(signed(claims(role="admin"))).role == "admin"
    with pytest.raises(InvalidToken):
        verifier().verify(signed(claims(role=role)))
