"""The keys that tokens are checked with: asked for seldom, kept while nobody tells them; and tokens taken no more."""

import asyncio
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from uuid import UUID, uuid4

import pytest

from apps.gateway.auth import JwksVerifier
from apps.gateway.errors import Unauthorized
from apps.users.keys import load_signer
from contracts.users import GetKeys, JsonWebKeySet
from kit.errors import OutcomeUnknown, Unavailable
from kit.tokens import MAX_LIFETIME, Signer
from tests.support.polling import eventually
from tests.support.store import SECRET
from tests.support.users_fakes import FakeSigningKeys, Store


class Users:
    """A users service with some keys, which counts how often it is asked for them."""

    def __init__(self) -> None:
        self.keys = Store()
        self.asked = 0
        self.away: Exception | None = None
        self.go = asyncio.Event()
        self.go.set()

    async def new_signer(self, lifetime: timedelta = timedelta(minutes=15)) -> Signer:
        for key in self.keys.keys.values():
            key.retired_at = datetime.now(UTC)
        return await load_signer(lambda: FakeSigningKeys(self.keys), SECRET, lifetime)  # type: ignore[arg-type,return-value]

    async def fetch(self, _: GetKeys) -> JsonWebKeySet:
        self.asked += 1
        await self.go.wait()
        if self.away:
            raise self.away
        return JsonWebKeySet(keys=tuple(key.view() for key in self.keys.keys.values()))


def later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    now = time.monotonic()
    monkeypatch.setattr("apps.gateway.auth.time", SimpleNamespace(monotonic=lambda: now + seconds, time=time.time))


async def kinds(ring: JwksVerifier, tokens: Iterable[str]) -> list[type[BaseException] | None]:
    results = await asyncio.gather(*map(ring.claims, tokens), return_exceptions=True)
    return [type(result) if isinstance(result, BaseException) else None for result in results]


async def test_the_keys_are_asked_for_once_for_all_who_come() -> None:
    users, ada = Users(), uuid4()
    users.go.clear()
    token = (await users.new_signer()).sign(ada, "user")
    ring = JwksVerifier(users.fetch)
    early = asyncio.create_task(kinds(ring, [token] * 20))
    await eventually(lambda: users.asked)
    late = asyncio.create_task(kinds(ring, [token] * 20))
    await asyncio.sleep(0)
    users.go.set()
    assert await early + await late == [None] * 40
    assert await kinds(ring, [token]) == [None]
    assert users.asked == 1


async def test_a_token_says_whose_it_is() -> None:
    users, ada = Users(), uuid4()
    claims = await JwksVerifier(users.fetch).claims((await users.new_signer()).sign(ada, "admin"))
    assert (claims.sub, claims.role) == (ada, "admin")


async def test_an_unknown_key_is_asked_for_at_most_every_five_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    users = Users()
    old = (await users.new_signer()).sign(uuid4(), "user")
    stranger = (await Users().new_signer()).sign(uuid4(), "user")
    ring = JwksVerifier(users.fetch)
    assert await kinds(ring, [old, *[stranger] * 20]) == [None, *[Unauthorized] * 20]
    assert users.asked == 1
    new = (await users.new_signer()).sign(uuid4(), "user")
    assert await kinds(ring, [new]) == [Unauthorized]
    later(monkeypatch, 5.1)
    assert await kinds(ring, [*[stranger] * 20, new, old, new]) == [*[Unauthorized] * 20, None, None, None]
    assert users.asked == 2
    later(monkeypatch, 10.2)
    assert await kinds(ring, [old, new]) == [None, None]
    assert users.asked == 2


async def test_what_is_known_is_kept_while_nobody_tells_the_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    users = Users()
    token = (await users.new_signer()).sign(uuid4(), "user")
    ring = JwksVerifier(users.fetch)
    known = await ring.keys()
    users.away = Unavailable("users service")
    later(monkeypatch, 3600)
    assert await kinds(ring, [token]) == [None]
    assert await ring.keys() == known
    users.away = OutcomeUnknown("users service")
    assert await ring.keys() == known
    users.away = None
    await users.new_signer()
    assert len((await ring.keys()).keys) == 2


async def test_while_no_key_was_ever_told_nobody_is_refused_for_that() -> None:
    users = Users()
    users.away = Unavailable("users service")
    token = (await users.new_signer()).sign(uuid4(), "user")
    ring = JwksVerifier(users.fetch)
    with pytest.raises(Unavailable):
        await ring.keys()
    assert await kinds(ring, [token, token]) == [Unavailable, Unavailable]
    users.away = None
    assert await kinds(ring, [token]) == [None]


async def test_while_the_keys_are_silent_those_who_wait_do_so_together() -> None:
    users = Users()
    users.go.clear()
    users.away = OutcomeUnknown("users service")
    token = (await users.new_signer()).sign(uuid4(), "user")
    ring = JwksVerifier(users.fetch)
    asking = asyncio.create_task(kinds(ring, [token] * 50))
    await eventually(lambda: users.asked)
    users.go.set()
    assert await asking == [OutcomeUnknown] * 50
    assert users.asked == 1


async def test_what_is_no_token_does_not_make_anybody_ask() -> None:
    users = Users()
    good = (await users.new_signer()).sign(uuid4(), "user")
    ring = JwksVerifier(users.fetch)
    await ring.keys()
    assert await kinds(ring, ["x", "", good[:-5], good + "x" * 5000]) == [Unauthorized] * 4
    assert users.asked == 1


async def test_a_token_that_is_good_for_too_long_is_not_taken() -> None:
    users = Users()
    signer = await users.new_signer(MAX_LIFETIME + timedelta(seconds=2))
    assert await kinds(JwksVerifier(users.fetch), [signer.sign(uuid4(), "user")]) == [Unauthorized]


async def test_tokens_of_before_a_moment_are_taken_no_more() -> None:
    users, ada, bob = Users(), uuid4(), uuid4()
    signer = await users.new_signer()
    hers, his = signer.sign(ada, "user"), signer.sign(bob, "user")
    ring = JwksVerifier(users.fetch)
    ring.revoke(ada, datetime.now(UTC))
    assert await kinds(ring, [hers, his]) == [Unauthorized, None]
    ring.revoke(bob, datetime.fromtimestamp((await ring.claims(his)).iat, UTC))  # in the same second
    assert await kinds(ring, [his]) == [Unauthorized]
    ring.revoke(ada, datetime.now(UTC) - timedelta(seconds=10))  # an older event, heard again
    assert await kinds(ring, [hers]) == [Unauthorized]


async def test_a_token_of_after_the_moment_is_taken() -> None:
    users, ada = Users(), uuid4()
    ring = JwksVerifier(users.fetch)
    ring.revoke(ada, datetime.now(UTC) - timedelta(seconds=10))
    assert await kinds(ring, [(await users.new_signer()).sign(ada, "user")]) == [None]


def test_of_those_whose_tokens_have_all_ended_nothing_is_kept() -> None:
    ring = JwksVerifier(Users().fetch)
    long_ago, now = datetime.now(UTC) - timedelta(hours=2), datetime.now(UTC)
    for number in range(999):
        ring.revoke(UUID(int=number), long_ago)
    ring.revoke(UUID(int=1000), now)
    assert list(ring._revoked) == [UUID(int=1000)]
