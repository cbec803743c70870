"""The rotation of signing keys: each is published before it signs, and after it does."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from pydantic import SecretStr

from apps.users.errors import NoSigningKey, RotationInProgress, SigningKeyNotFound, WrongSecret
from apps.users.key_models import KeyTimes
from apps.users.key_repository import SigningKeys
from apps.users.key_rotation import NOTICE_TIMEOUT, RETIREMENT, KeyRing
from apps.users.keys import KeySeal
from contracts.keys import KeyRotated, KeyState
from kit import database
from kit.errors import NATS, OutcomeUnknown, Unavailable
from kit.tokens import Signer, Verifier
from mkstore.testing.fakes.keys import FakeSigningKeys, KeyStore
from mkstore.testing.signing_keys import CachedSeal
from tests.conftest import Gear, NewDatabase
from tests.support.clock import Clock
from tests.support.polling import eventually
from tests.support.users_harness import LIFETIME
from tests.users.conftest import settings_for

CACHE = timedelta(minutes=5)


class Replicas:
    """Key rings on one table of keys, in memory or in PostgreSQL, that publish to one store."""

    def __init__(self, open_keys: Any, read_keys: Any) -> None:
        self.store = KeyStore()
        self.clock = Clock()
        self._open_keys: Any = open_keys or partial(FakeSigningKeys, self.store)
        self._read_keys: Any = read_keys or self._open_keys
        self._first = 0

    def new(self, seal: KeySeal | None = None, cache: timedelta = CACHE) -> KeyRing:
        self._first += 10
        return KeyRing(
            self._open_keys,
            self._read_keys,
            seal or CachedSeal(self._first),
            self.store.publish,
            lifetime=LIFETIME,
            times=KeyTimes(cache, RETIREMENT),
            look_interval=0.01,
            clock=self.clock,
        )

    async def started(self, **options: Any) -> KeyRing:
        ring = self.new(**options)
        await ring.load()
        await ring.look()
        return ring

    @property
    def published(self) -> set[str]:
        return {key.kid for key in self.store.sets[-1].keys}


@pytest.fixture
async def replicas(gear: Gear, request: pytest.FixtureRequest) -> AsyncIterator[Replicas]:
    if gear == "memory":
        yield Replicas(None, None)
        return
    new_database: NewDatabase = request.getfixturevalue("new_database")
    pool = database.create_pool(settings_for(new_database("users"), "nats://127.0.0.1:1"))
    yield Replicas(partial(SigningKeys, pool), partial(SigningKeys, pool, autocommit=True))
    await pool.close()


@pytest.fixture
def in_memory() -> Replicas:
    """Return replicas whose time a test moves."""
    return Replicas(None, None)


def token_of(signer: Signer) -> str:
    return signer.sign(uuid4(), "user", uuid4())


def kid_of(ring: KeyRing, sets: Replicas) -> str:
    """Return the id of the published key that signs."""
    token = token_of(ring.signer())
    (kid,) = [key.kid for key in sets.store.sets[-1].keys if _verifies(key, token)]
    return kid


def _verifies(key: Any, token: str) -> bool:
    try:
        Verifier({key.kid: key.model_dump()}).verify(token)
    except Exception:  # noqa: BLE001 - signed with another key
        return False
    return True


async def states(ring: KeyRing) -> dict[str, KeyState]:
    return {key.kid: key.state for key in (await ring.list()).data}


@asynccontextmanager
async def looking(*rings: KeyRing) -> AsyncIterator[None]:
    for ring in rings:
        await ring.start()
    try:
        yield
    finally:
        for ring in rings:
            await ring.stop()


async def test_replicas_that_start_at_once_agree_on_one_key(replicas: Replicas) -> None:
    rings = await asyncio.gather(*(replicas.started() for _ in range(4)))
    assert len(replicas.published) == 1
    assert {kid_of(ring, replicas) for ring in rings} == replicas.published


async def test_the_key_is_the_same_after_a_restart(replicas: Replicas) -> None:
    first, second = await replicas.started(), await replicas.started()
    assert kid_of(first, replicas) == kid_of(second, replicas)


async def test_another_secret_stops_the_start(replicas: Replicas) -> None:
    await replicas.started(seal=KeySeal(SecretStr("one")))
    with pytest.raises(WrongSecret):
        await replicas.new(KeySeal(SecretStr("another"))).load()


async def test_nothing_is_signed_before_the_key_is_published(replicas: Replicas) -> None:
    ring = replicas.new()
    await ring.load()
    replicas.store.failure = Unavailable(NATS)
    async with looking(ring):
        with pytest.raises(NoSigningKey):
            ring.signer()
        with pytest.raises(RuntimeError, match="broker is unavailable"):
            await ring.check()
        replicas.store.failure = None
        await eventually(lambda: replicas.store.sets)
        await eventually(lambda: _is_ready(ring))
    assert kid_of(ring, replicas) in replicas.published


async def _is_ready(ring: KeyRing) -> bool:
    try:
        return (await ring.check()).endswith("signs.")
    except RuntimeError:
        return False


async def test_known_key_signs_while_nats_is_away(replicas: Replicas) -> None:
    ring = await replicas.started()
    replicas.store.failure = Unavailable(NATS)
    with pytest.raises(Unavailable):
        await ring.look()
    assert kid_of(ring, replicas) in replicas.published


async def test_the_next_key_signs_after_the_cache_time(in_memory: Replicas) -> None:
    """Every replica follows (M9): today's service reads its key once, at its start."""
    ring, other = await in_memory.started(), await in_memory.started()
    old = kid_of(ring, in_memory)
    new = await ring.rotate()
    assert (new.state, in_memory.published) == (KeyState.NEXT, {old, new.kid})
    in_memory.store.clock.advance(CACHE - timedelta(seconds=1))
    await ring.look()
    assert kid_of(ring, in_memory) == old
    in_memory.store.clock.advance(timedelta(seconds=1))
    await ring.look()
    await other.look()
    assert kid_of(ring, in_memory) == kid_of(other, in_memory) == new.kid
    assert await states(ring) == {old: KeyState.RETIRED, new.kid: KeyState.ACTIVE}
    assert [type(event) for event in in_memory.store.events] == [KeyRotated]
    assert len(in_memory.store.sets) == 2  # the first key, and both


async def test_unpublished_key_never_signs(in_memory: Replicas) -> None:
    ring = await in_memory.started()
    old = kid_of(ring, in_memory)
    in_memory.store.failure = Unavailable(NATS)
    with pytest.raises(Unavailable):
        await ring.rotate()
    in_memory.store.clock.advance(2 * CACHE)
    in_memory.store.failure = None
    await ring.look()  # published now
    await ring.look()
    assert kid_of(ring, in_memory) == old
    in_memory.store.clock.advance(CACHE)
    await ring.look()
    assert kid_of(ring, in_memory) != old


async def test_of_two_rotations_at_once_one_is_refused(replicas: Replicas) -> None:
    rings = [await replicas.started(), await replicas.started()]
    results = await asyncio.gather(*(ring.rotate() for ring in rings), return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["RotationInProgress", "SigningKeyView"]
    assert len(replicas.published) == 2
    with pytest.raises(RotationInProgress):
        await rings[0].rotate()


async def test_a_retired_key_leaves_after_its_last_token(in_memory: Replicas) -> None:
    ring = await in_memory.started()
    old = kid_of(ring, in_memory)
    new = await ring.rotate()
    in_memory.store.clock.advance(CACHE)
    await ring.look()
    leaves_at = next(key.leaves_at for key in (await ring.list()).data if key.kid == old)
    assert leaves_at is not None
    in_memory.store.clock.advance(RETIREMENT - timedelta(seconds=1))
    await ring.look()
    assert in_memory.published == {old, new.kid}
    in_memory.store.clock.advance(timedelta(seconds=1))
    await ring.look()
    assert in_memory.published == {new.kid}
    assert await states(ring) == {new.kid: KeyState.ACTIVE}


@pytest.mark.parametrize("rotated", [False, True], ids=["no next key", "with a next key"])
async def test_withdrawn_key_leaves_at_once_and_another_signs(replicas: Replicas, *, rotated: bool) -> None:
    ring, other = await replicas.started(), await replicas.started()
    leaked = kid_of(ring, replicas)
    following = (await ring.rotate()).kid if rotated else None
    (left,) = (await ring.withdraw(leaked)).data
    assert (left.state, replicas.published) == (KeyState.ACTIVE, {left.kid})
    assert left.kid == (following or left.kid) != leaked
    await other.look()
    assert kid_of(ring, replicas) == kid_of(other, replicas) == left.kid
    with pytest.raises(SigningKeyNotFound):
        await ring.withdraw(leaked)


async def test_key_that_does_not_sign_is_withdrawn_alone(in_memory: Replicas) -> None:
    ring = await in_memory.started()
    active = kid_of(ring, in_memory)
    await ring.withdraw((await ring.rotate()).kid)
    assert in_memory.published == {active} == {kid_of(ring, in_memory)}
    following = (await ring.rotate()).kid
    in_memory.store.clock.advance(CACHE)
    await ring.look()
    await ring.withdraw(active)
    assert in_memory.published == {following} == {kid_of(ring, in_memory)}


async def test_withdrawn_key_is_published_without_it_after_an_outage(in_memory: Replicas) -> None:
    ring = await in_memory.started()
    leaked = kid_of(ring, in_memory)
    in_memory.store.failure = TimeoutError()
    with pytest.raises(OutcomeUnknown):
        await ring.withdraw(leaked)
    with pytest.raises(NoSigningKey):  # nobody knows the key that would sign
        ring.signer()
    in_memory.store.failure = None
    await ring.look()
    assert leaked not in in_memory.published
    assert kid_of(ring, in_memory) in in_memory.published


async def test_process_that_cannot_look_signs_no_more(replicas: Replicas) -> None:
    ring = await replicas.started()
    replicas.clock.now += NOTICE_TIMEOUT
    ring.signer()
    replicas.clock.now += 0.1
    with pytest.raises(NoSigningKey):
        ring.signer()
    await ring.look()
    ring.signer()


async def test_every_token_of_a_rotation_verifies_with_the_keys_of_its_time(replicas: Replicas) -> None:
    """Three replicas sign all the time, through two rotations."""
    rings = [await replicas.started(cache=timedelta(seconds=0.1)) for _ in range(3)]
    used: list[set[str]] = []

    def issue() -> None:
        used.append({kid_of(ring, replicas) for ring in rings})

    async with looking(*rings):
        for _ in range(2):
            new = (await rings[0].rotate()).kid
            await _issue_until(issue, used, new)
    kids = set.union(*used)
    assert len(kids) == 3
    assert kids == replicas.published


async def _issue_until(issue: Callable[[], None], used: Sequence[set[str]], kid: str) -> None:
    async def switched() -> bool:
        issue()
        return used[-1] == {kid}

    await eventually(switched)
