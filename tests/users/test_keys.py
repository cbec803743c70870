"""Private keys are sealed with one secret."""

from collections.abc import Iterable

import pytest
from pydantic import SecretStr
from uuid_utils.compat import uuid7

from apps.users.errors import UnknownSeal, WrongSecret
from apps.users.keys import new_key, open_key
from contracts.keys import JsonWebKey
from kit.errors import CannotStart
from kit.tokens import Signer, Verifier
from mkstore.testing.signing_keys import SECRET
from tests.support.users_harness import LIFETIME


def test_a_key_is_opened_with_the_secret_that_sealed_it() -> None:
    key = new_key(SECRET)
    signer = Signer(key.kid, open_key(key, SECRET), LIFETIME)
    _verify(signer, [key.view()])


def _verify(signer: Signer, keys: Iterable[JsonWebKey]) -> None:
    user_id = uuid7()
    verifier = Verifier({key.kid: key.model_dump() for key in keys})
    assert verifier.verify(signer.sign(user_id, "user", uuid7())).sub == user_id


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
