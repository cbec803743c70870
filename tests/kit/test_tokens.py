"""The cache of verified tokens."""

import time
from collections.abc import Callable
from datetime import timedelta
from uuid import uuid4

import pytest

from kit.tokens import InvalidToken, UnknownKey, Verifier
from mkstore.testing.signing_keys import signer, signing_key
from tests.support.clock import Clock

SIGNER = signer(timedelta(minutes=15))


def verifier(cache_size: int = 10, clock: Callable[[], float] = time.time) -> Verifier:
    key = signing_key().view()
    return Verifier({key.kid: key.model_dump()}, cache_size=cache_size, clock=clock)


def new_token() -> str:
    return SIGNER.sign(uuid4(), "user", uuid4())


def test_verified_token_is_cached_once() -> None:
    tokens, token = verifier(), new_token()
    assert tokens.verify(token) is tokens.verify(token)
    assert tokens.cached == (token,)


def test_expired_token_is_refused_although_it_is_cached() -> None:
    clock, token = Clock(), new_token()
    clock.now = time.time()
    tokens = verifier(clock=clock)
    clock.now = tokens.verify(token).exp - 1.0
    tokens.verify(token)
    clock.now += 1.0
    with pytest.raises(InvalidToken):
        tokens.verify(token)
    assert tokens.cached == ()


def test_least_recently_used_token_is_removed() -> None:
    tokens = verifier(cache_size=2)
    first, second, third = new_token(), new_token(), new_token()
    for token in (first, second, first, third):
        tokens.verify(token)
    assert tokens.cached == (first, third)


def test_other_signature_is_refused_although_its_token_is_cached() -> None:
    tokens, token = verifier(), new_token()
    tokens.verify(token)
    other = "g" if token[-1] in "AQw" else "A"  # differs in the two bits that belong to the signature
    with pytest.raises(InvalidToken):
        tokens.verify(token[:-1] + other)
    assert tokens.cached == (token,)


def test_refused_token_is_not_cached() -> None:
    tokens = verifier()
    stranger = signer(timedelta(minutes=15), number=10).sign(uuid4(), "user", uuid4())
    for token, refusal in ((stranger, UnknownKey), ("a.b.c", InvalidToken), (new_token()[:-3], InvalidToken)):
        with pytest.raises(refusal):
            tokens.verify(token)
    assert tokens.cached == ()
