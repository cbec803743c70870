"""The rules on a user, without anything around them."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest
from pydantic import TypeAdapter, ValidationError

from apps.users.errors import VersionMismatch
from apps.users.models import User
from contracts.users import Email, Role, UpdateUser


def a_user() -> User:
    return User.register(email="ada@example.com", name="Ada", password_hash="hash")


def test_a_new_user_is_nothing_special() -> None:
    user = a_user()
    assert (user.role, user.disabled, user.version, user.deleted_at) == (Role.USER, False, 1, None)
    assert user.created_at == user.updated_at


def test_a_later_user_has_a_larger_id() -> None:
    ids = [a_user().id for _ in range(1000)]
    assert ids == sorted(ids)


def test_any_version_is_expected_by_who_knows_none() -> None:
    user = a_user()
    user.expect(None)
    user.expect(1)
    with pytest.raises(VersionMismatch) as refused:
        user.expect(2)
    assert (refused.value.expected, refused.value.found) == (2, 1)


def test_null_takes_a_name_away_and_nothing_else() -> None:
    user = a_user()
    assert user.change(UpdateUser(id=user.id, name=None, email=None, role=None, disabled=None))
    assert (user.name, user.email, user.role, user.disabled, user.version) == (
        None,
        "ada@example.com",
        Role.USER,
        False,
        2,
    )


def test_a_change_makes_one_version_and_a_later_time() -> None:
    user = a_user()
    assert user.change(UpdateUser(id=user.id, name="Countess", role=Role.ADMIN))
    assert (user.name, user.role, user.version) == ("Countess", Role.ADMIN, 2)
    assert user.created_at < user.updated_at <= datetime.now(UTC)


def test_what_is_already_so_is_no_change() -> None:
    user = a_user()
    before = user.model_dump()
    assert not user.change(UpdateUser(id=user.id, name="Ada", email="ADA@example.com", role=Role.USER, disabled=False))
    assert user.model_dump() == before


def test_a_request_changes_nobodys_id_or_version() -> None:
    user = a_user()
    before = user.id
    assert not user.change(UpdateUser(id=uuid4(), expected_version=9))
    assert (user.id, user.version) == (before, 1)


def test_nothing_that_tells_who_it_was_is_left_of_a_deleted_user() -> None:
    user = a_user()
    event = user.delete()
    assert (user.name, user.password_hash) == (None, None)
    assert "ada" not in user.model_dump_json().lower()
    assert (event.id, event.version, event.deleted_at) == (user.id, 2, user.deleted_at)


def test_what_replaces_the_email_of_a_deleted_user_can_be_nobodys_email() -> None:
    user = a_user()
    user.delete()
    with pytest.raises(ValidationError):
        TypeAdapter(Email).validate_python(user.email)


def test_a_user_is_shown_without_the_password() -> None:
    user = a_user()
    assert "hash" not in user.view().model_dump_json()
    assert "hash" not in repr(user)
