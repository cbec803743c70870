"""Verification of access tokens with the published keys: which set counts, and how long."""

import asyncio
from collections.abc import Iterable
from datetime import timedelta
from itertools import count
from uuid import uuid4

import pytest

from apps.gateway.auth import TokenVerifier
from apps.gateway.errors import Unauthorized
from apps.gateway.public_keys import PublishedKeys
from contracts.keys import JsonWebKey, PublicKeys
from kit.errors import NATS, Unavailable
from kit.tokens import MAX_LIFETIME, Signer
from mkstore.testing.signing_keys import signer, signing_key
from tests.support.clock import Clock
from tests.support.polling import eventually
from tests.support.revoked import caught_up


class KeyStream:
    """The stream of public keys with keys from number `first_key` on, that counts its reads."""

    def __init__(self, first_key: int = 0) -> None:
        self.keys: list[JsonWebKey] = []
        self.reads = 0
        self._numbers = count(first_key)
        self.failure: Exception | None = None
        self.go = asyncio.Event()
        self.go.set()

    def new_signer(self, lifetime: timedelta = timedelta(minutes=15)) -> Signer:
        number = next(self._numbers)
        self.keys.append(signing_key(number).view())
        return signer(lifetime, number)

    def stored(self) -> PublicKeys | None:
        return PublicKeys(keys=tuple(self.keys)) if self.keys else None

    async def read(self) -> PublicKeys | None:
        self.reads += 1
        await self.go.wait()
        if self.failure:
            raise self.failure
        return self.stored()


def token_of(signer: Signer, role: str = "user") -> str:
    return signer.sign(uuid4(), role, uuid4())


async def kinds(keys: PublishedKeys, tokens: Iterable[str]) -> list[type[BaseException] | None]:
    verifier = TokenVerifier(keys, caught_up())
    results = await asyncio.gather(*map(verifier.claims, tokens), return_exceptions=True)
    return [type(result) if isinstance(result, BaseException) else None for result in results]


async def test_concurrent_first_tokens_read_the_stream_once() -> None:
    stream = KeyStream()
    stream.go.clear()
    token = token_of(stream.new_signer())
    keys = PublishedKeys(stream.read)
    early = asyncio.create_task(kinds(keys, [token] * 20))
    await eventually(lambda: stream.reads)
    late = asyncio.create_task(kinds(keys, [token] * 20))
    await asyncio.sleep(0)
    stream.go.set()
    assert await early + await late == [None] * 40
    assert stream.reads == 1


async def test_published_set_needs_no_read() -> None:
    stream = KeyStream()
    token = token_of(stream.new_signer())
    keys = PublishedKeys(stream.read)
    keys.apply(PublicKeys(keys=tuple(stream.keys)))
    assert await kinds(keys, [token]) == [None]
    assert (await keys.current())[0].keys == tuple(stream.keys)
    assert stream.reads == 0


async def test_claims_name_user_and_role() -> None:
    stream, ada = KeyStream(), uuid4()
    token = stream.new_signer().sign(ada, "admin", uuid4())
    claims = await TokenVerifier(PublishedKeys(stream.read), caught_up()).claims(token)
    assert (claims.sub, claims.role) == (ada, "admin")


async def test_unknown_kid_reads_at_most_once_per_interval() -> None:
    stream, clock = KeyStream(), Clock()
    old = token_of(stream.new_signer())
    stranger = token_of(KeyStream(first_key=10).new_signer())
    keys = PublishedKeys(stream.read, clock=clock)
    assert await kinds(keys, [old, *[stranger] * 20]) == [None, *[Unauthorized] * 20]
    assert stream.reads == 1
    new = token_of(stream.new_signer())
    assert await kinds(keys, [new]) == [Unauthorized]
    clock.now += 5.1
    assert await kinds(keys, [*[stranger] * 20, new, old, new]) == [*[Unauthorized] * 20, None, None, None]
    assert stream.reads == 2
    clock.now += 5.1
    assert await kinds(keys, [old, new]) == [None, None]
    assert stream.reads == 2


async def test_set_is_not_used_when_not_confirmed_for_five_minutes() -> None:
    stream, clock = KeyStream(), Clock()
    token = token_of(stream.new_signer())
    keys = PublishedKeys(stream.read, clock=clock)
    assert await kinds(keys, [token]) == [None]
    stream.failure = Unavailable(NATS)
    clock.now += 299
    assert await kinds(keys, [token]) == [None]
    assert keys.known(token) is not None
    keys.confirm()
    clock.now += 299
    assert await kinds(keys, [token]) == [None]
    clock.now += 2
    assert keys.known(token) is None
    assert await kinds(keys, [token]) == [Unavailable]
    with pytest.raises(Unavailable):
        await keys.current()
    stream.failure = None
    clock.now += 5.1
    assert await kinds(keys, [token]) == [None]


@pytest.mark.parametrize("failure", [None, Unavailable(NATS)])
async def test_without_any_set_tokens_are_refused_at_once(failure: Exception | None) -> None:
    stream, clock = KeyStream(), Clock()
    stream.failure = failure
    token = token_of(KeyStream(first_key=10).new_signer())
    keys = PublishedKeys(stream.read, clock=clock)
    keys.confirm()
    with pytest.raises(Unavailable, match="set of public keys"):
        await keys.current()
    assert await kinds(keys, [token, token]) == [Unavailable, Unavailable]
    assert stream.reads == 1


async def test_hanging_read_is_unavailable_not_unknown() -> None:
    stream = KeyStream()
    stream.go.clear()
    token = token_of(stream.new_signer())
    assert await kinds(PublishedKeys(stream.read, 0.05), [token]) == [Unavailable]
    stream.go.set()


async def test_malformed_token_does_not_read_the_stream() -> None:
    stream = KeyStream()
    good = token_of(stream.new_signer())
    keys = PublishedKeys(stream.read)
    keys.apply(PublicKeys(keys=tuple(stream.keys)))
    assert await kinds(keys, ["x", "", good[:-5], good + "x" * 5000]) == [Unauthorized] * 4
    assert stream.reads == 0


async def test_token_with_too_long_a_lifetime_is_refused() -> None:
    stream = KeyStream()
    token = token_of(stream.new_signer(MAX_LIFETIME + timedelta(seconds=2)))
    assert await kinds(PublishedKeys(stream.read), [token]) == [Unauthorized]


async def test_cached_token_of_a_removed_key_is_refused() -> None:
    stream = KeyStream()
    old = token_of(stream.new_signer())
    keys = PublishedKeys(stream.read)
    assert await kinds(keys, [old]) == [None]
    before = (await keys.current())[1]
    stream.keys.clear()
    new = token_of(stream.new_signer())
    keys.apply(PublicKeys(keys=tuple(stream.keys)))
    assert keys.known(old) is None
    assert await kinds(keys, [new, old]) == [None, Unauthorized]
    assert (await keys.current())[1] != before


async def test_repeated_set_keeps_verified_tokens() -> None:
    stream = KeyStream()
    token = token_of(stream.new_signer())
    keys = PublishedKeys(stream.read)
    assert await kinds(keys, [token]) == [None]
    keys.apply(PublicKeys(keys=tuple(stream.keys)))
    assert keys.known(token) is not None
