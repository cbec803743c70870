"""Signing keys: sealed with one secret, and shared by all replicas."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from pydantic import SecretStr
from uuid_utils.compat import uuid7

from apps.users.errors import UnknownSeal, WrongSecret
from apps.users.keys import load_signer, new_key, open_key
from apps.users.repository import SigningKeys
from contracts.keys import JsonWebKey
from kit import database
from kit.errors import CannotStart
from kit.tokens import Signer, Verifier
from tests.conftest import Gear, NewDatabase
from tests.support.signing_keys import SECRET
from tests.support.users_fakes import FakeSigningKeys, Store
from tests.support.users_harness import LIFETIME
from tests.users.conftest import settings_for


def test_a_key_is_opened_with_the_secret_that_sealed_it() -> None:
    key = new_key(SECRET)
    signer = Signer(key.kid, open_key(key, SECRET), LIFETIME)
    _verify(signer, [key.view()])


def _verify(signer: Signer, keys: Iterable[JsonWebKey]) -> None:
    user_id = uuid7()
    verifier = Verifier({key.kid: key.model_dump() for key in keys})
    assert verifier.verify(signer.sign(user_id, "user", uuid4())).sub == user_id


def test_a_wrong_secret_is_refused_and_the_error_names_jwt_secret() -> None:
    key = new_key(SECRET)
    with pytest.raises(WrongSecret, match="JWT_SECRET") as refused:
        open_key(key, SecretStr("another"))
    assert isinstance(refused.value, CannotStart)


def test_a_sealed_key_is_bound_to_its_id() -> None:
    key, other = new_key(SECRET), new_key(SECRET)
    key.kid = other.kid
    with pytest.raises(WrongSecret):
        open_key(key, SECRET)


@pytest.mark.parametrize("position", [1, 17, 29, -1])
def test_a_modified_sealed_key_is_not_opened(position: int) -> None:
    key = new_key(SECRET)
    modified = bytearray(key.sealed)
    modified[position] ^= 1
    key.sealed = bytes(modified)
    with pytest.raises(WrongSecret):
        open_key(key, SECRET)


def test_an_unknown_seal_format_has_a_separate_error() -> None:
    key = new_key(SECRET)
    key.sealed = b"\x02" + key.sealed[1:]
    with pytest.raises(UnknownSeal, match="later version"):
        open_key(key, SECRET)


def test_the_private_key_is_never_shown() -> None:
    key = new_key(SECRET)
    number = open_key(key, SECRET).private_numbers().private_value
    assert number.to_bytes(32, "big") not in key.sealed
    assert "d" not in key.public
    assert "sealed" not in repr(key)


@pytest.fixture
async def open_keys(gear: Gear, request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """Return a function that opens a transaction on an empty table of signing keys."""
    if gear == "memory":
        yield partial(FakeSigningKeys, Store())
        return
    new_database: NewDatabase = request.getfixturevalue("new_database")
    pool = database.create_pool(settings_for(new_database("users"), "nats://127.0.0.1:1"))
    yield partial(SigningKeys, pool)
    await pool.close()


async def test_replicas_that_start_at_once_agree_on_one_key(open_keys: Any) -> None:
    signers = await asyncio.gather(*(load_signer(open_keys, SECRET, LIFETIME) for _ in range(4)))
    async with open_keys() as keys:
        public = await keys.public(retired_since=datetime.now(UTC))
    assert len(public) == 1
    for signer in signers:
        _verify(signer, public)


async def test_the_key_is_the_same_after_a_restart(open_keys: Any) -> None:
    first = await load_signer(open_keys, SECRET, LIFETIME)
    second = await load_signer(open_keys, SECRET, LIFETIME)
    async with open_keys() as keys:
        active = await keys.active()
    _verify(first, [active.view()])
    _verify(second, [active.view()])


async def test_another_secret_stops_the_start(open_keys: Any) -> None:
    await load_signer(open_keys, SECRET, LIFETIME)
    with pytest.raises(WrongSecret):
        await load_signer(open_keys, SecretStr("another"), LIFETIME)


async def test_a_retired_key_is_published_while_its_tokens_are_valid(open_keys: Any) -> None:
    now = datetime.now(UTC)
    recent, old, active = (new_key(SECRET) for _ in range(3))
    recent.retired_at, old.retired_at = now - LIFETIME / 2, now - 2 * LIFETIME
    for key in (recent, old, active):
        async with open_keys() as keys:
            await keys.insert_if_none(key)
    async with open_keys() as keys:
        published = [key.kid for key in await keys.public(retired_since=now - LIFETIME)]
    assert sorted(published) == sorted([recent.kid, active.kid])
