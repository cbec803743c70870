"""Verification of access tokens: cached public keys."""

import asyncio
from collections.abc import Iterable
from datetime import timedelta
from itertools import count
from uuid import uuid4

import pytest

from apps.gateway.auth import JwksVerifier
from apps.gateway.errors import Unauthorized
from contracts.keys import GetKeys, JsonWebKey, JsonWebKeySet
from kit.errors import OutcomeUnknown, Unavailable
from kit.tokens import MAX_LIFETIME, Signer
from tests.support.clock import Clock
from tests.support.polling import eventually
from tests.support.revoked import caught_up
from tests.support.signing_keys import signer, signing_key


class Users:
    """A users service with signing keys from number `first_key` on, that counts the requests for them."""

    def __init__(self, first_key: int = 0) -> None:
        self.keys: list[JsonWebKey] = []
        self.requests = 0
        self._numbers = count(first_key)
        self.failure: Exception | None = None
        self.go = asyncio.Event()
        self.go.set()

    def new_signer(self, lifetime: timedelta = timedelta(minutes=15)) -> Signer:
        number = next(self._numbers)
        self.keys.append(signing_key(number).view())
        return signer(lifetime, number)

    async def fetch(self, _: GetKeys) -> JsonWebKeySet:
        self.requests += 1
        await self.go.wait()
        if self.failure:
            raise self.failure
        return JsonWebKeySet(keys=tuple(self.keys))


async def kinds(verifier: JwksVerifier, tokens: Iterable[str]) -> list[type[BaseException] | None]:
    results = await asyncio.gather(*map(verifier.claims, tokens), return_exceptions=True)
    return [type(result) if isinstance(result, BaseException) else None for result in results]


async def test_concurrent_tokens_fetch_the_keys_once() -> None:
    users, ada = Users(), uuid4()
    users.go.clear()
    token = users.new_signer().sign(ada, "user", uuid4())
    verifier = JwksVerifier(users.fetch, caught_up())
    early = asyncio.create_task(kinds(verifier, [token] * 20))
    await eventually(lambda: users.requests)
    late = asyncio.create_task(kinds(verifier, [token] * 20))
    await asyncio.sleep(0)
    users.go.set()
    assert await early + await late == [None] * 40
    assert await kinds(verifier, [token]) == [None]
    assert users.requests == 1


async def test_claims_name_user_and_role() -> None:
    users, ada = Users(), uuid4()
    claims = await JwksVerifier(users.fetch, caught_up()).claims(users.new_signer().sign(ada, "admin", uuid4()))
    assert (claims.sub, claims.role) == (ada, "admin")


async def test_unknown_kid_fetches_at_most_once_per_interval() -> None:
    users, clock = Users(), Clock()
    old = users.new_signer().sign(uuid4(), "user", uuid4())
    stranger = Users(first_key=10).new_signer().sign(uuid4(), "user", uuid4())
    verifier = JwksVerifier(users.fetch, caught_up(), clock=clock)
    assert await kinds(verifier, [old, *[stranger] * 20]) == [None, *[Unauthorized] * 20]
    assert users.requests == 1
    new = users.new_signer().sign(uuid4(), "user", uuid4())
    assert await kinds(verifier, [new]) == [Unauthorized]
    clock.now += 5.1
    assert await kinds(verifier, [*[stranger] * 20, new, old, new]) == [*[Unauthorized] * 20, None, None, None]
    assert users.requests == 2
    clock.now += 5.1
    assert await kinds(verifier, [old, new]) == [None, None]
    assert users.requests == 2


async def test_cached_keys_serve_while_users_is_unavailable() -> None:
    users, clock = Users(), Clock()
    token = users.new_signer().sign(uuid4(), "user", uuid4())
    verifier = JwksVerifier(users.fetch, caught_up(), clock=clock)
    known = await verifier.keys()
    users.failure = Unavailable("users service")
    clock.now += 3600
    assert await kinds(verifier, [token]) == [None]
    assert await verifier.keys() == known
    users.failure = OutcomeUnknown("users service")
    assert await verifier.keys() == known
    users.failure = None
    users.new_signer()
    assert len((await verifier.keys()).keys) == 2


async def test_without_any_key_the_result_is_unavailable() -> None:
    users = Users()
    users.failure = Unavailable("users service")
    token = users.new_signer().sign(uuid4(), "user", uuid4())
    verifier = JwksVerifier(users.fetch, caught_up())
    with pytest.raises(Unavailable):
        await verifier.keys()
    assert await kinds(verifier, [token, token]) == [Unavailable, Unavailable]
    users.failure = None
    assert await kinds(verifier, [token]) == [None]


async def test_waiters_for_slow_keys_share_one_request() -> None:
    users = Users()
    users.go.clear()
    users.failure = OutcomeUnknown("users service")
    token = users.new_signer().sign(uuid4(), "user", uuid4())
    verifier = JwksVerifier(users.fetch, caught_up())
    asking = asyncio.create_task(kinds(verifier, [token] * 50))
    await eventually(lambda: users.requests)
    users.go.set()
    assert await asking == [OutcomeUnknown] * 50
    assert users.requests == 1


async def test_malformed_token_does_not_fetch_keys() -> None:
    users = Users()
    good = users.new_signer().sign(uuid4(), "user", uuid4())
    verifier = JwksVerifier(users.fetch, caught_up())
    await verifier.keys()
    assert await kinds(verifier, ["x", "", good[:-5], good + "x" * 5000]) == [Unauthorized] * 4
    assert users.requests == 1


async def test_token_with_too_long_a_lifetime_is_refused() -> None:
    users = Users()
    signer = users.new_signer(MAX_LIFETIME + timedelta(seconds=2))
    assert await kinds(JwksVerifier(users.fetch, caught_up()), [signer.sign(uuid4(), "user", uuid4())]) == [
        Unauthorized
    ]


async def test_changed_keys_verify_cached_tokens_again() -> None:
    """The token of a removed key is refused, also if it was cached."""
    users, clock = Users(), Clock()
    old = users.new_signer().sign(uuid4(), "user", uuid4())
    verifier = JwksVerifier(users.fetch, caught_up(), clock=clock)
    assert await kinds(verifier, [old]) == [None]
    users.keys.clear()
    new = users.new_signer().sign(uuid4(), "user", uuid4())
    clock.now += 5.1
    assert await kinds(verifier, [new]) == [None]
    assert await kinds(verifier, [old]) == [Unauthorized]
