"""The rules of a user."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest
from pydantic import TypeAdapter, ValidationError

from apps.users.errors import VersionMismatch
from apps.users.models import User
from contracts.users import Email, Role, UpdateUser


def now() -> datetime:
    return datetime.now(UTC)


def new_user() -> User:
    return User.register(email="ada@example.com", name="Ada", password_hash="hash", now=now())


def test_a_new_user_has_the_default_role() -> None:
    user = new_user()
    assert (user.role, user.disabled, user.version, user.deleted_at) == (Role.USER, False, 1, None)
    assert user.created_at == user.updated_at


def test_a_later_user_has_a_larger_id() -> None:
    ids = [new_user().id for _ in range(1000)]
    assert ids == sorted(ids)


def test_an_expected_version_is_optional() -> None:
    user = new_user()
    user.expect(None)
    user.expect(1)
    with pytest.raises(VersionMismatch) as refused:
        user.expect(2)
    assert (refused.value.expected, refused.value.actual) == (2, 1)


def test_null_removes_the_name_and_nothing_else() -> None:
    user = new_user()
    assert user.change(UpdateUser(id=user.id, name=None, email=None, role=None, disabled=None), now())
    assert (user.name, user.email, user.role, user.disabled, user.version) == (
        None,
        "ada@example.com",
        Role.USER,
        False,
        2,
    )


def test_a_change_increases_version_and_time() -> None:
    user = new_user()
    assert user.change(UpdateUser(id=user.id, name="Countess", role=Role.ADMIN), now())
    assert (user.name, user.role, user.version) == ("Countess", Role.ADMIN, 2)
    assert user.created_at < user.updated_at <= now()


def test_equal_values_change_nothing() -> None:
    user = new_user()
    before = user.model_dump()
    assert not user.change(
        UpdateUser(id=user.id, name="Ada", email="ADA@example.com", role=Role.USER, disabled=False), now()
    )
    assert user.model_dump() == before


def test_a_request_cannot_change_id_or_version() -> None:
    user = new_user()
    before = user.id
    assert not user.change(UpdateUser(id=uuid4(), expected_version=9), now())
    assert (user.id, user.version) == (before, 1)


def test_a_deleted_user_has_no_personal_data() -> None:
    user = new_user()
    event = user.delete(now())
    assert (user.name, user.password_hash) == (None, None)
    assert "ada" not in user.model_dump_json().lower()
    assert (event.id, event.version, event.deleted_at) == (user.id, 2, user.deleted_at)


def test_the_placeholder_of_a_deleted_email_is_invalid() -> None:
    user = new_user()
    user.delete(now())
    with pytest.raises(ValidationError):
        TypeAdapter(Email).validate_python(user.email)


def test_a_view_has_no_password() -> None:
    user = new_user()
    assert "hash" not in user.view().model_dump_json()
    assert "hash" not in repr(user)
