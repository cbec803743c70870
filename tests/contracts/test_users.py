"""Validation of users."""

import json
from typing import Any
from uuid import UUID

import pytest
from pydantic import ValidationError

from contracts.sessions import Authenticate, IssuedSession, RefreshSession
from contracts.users import (
    ChangePassword,
    CreateUser,
    GetUsers,
    UpdateUser,
    UserCreated,
    UserUpdated,
    UserView,
    canonical_email,
)

ID = UUID("0198c5c8-7c1e-7a52-9d3b-4f1e8a6b2c01")
USER: dict[str, Any] = {
    "id": str(ID),
    "email": "ada@example.com",
    "name": None,
    "role": "admin",
    "disabled": False,
    "version": 7,
    "createdAt": "2026-01-31T12:00:00Z",
    "updatedAt": "2026-01-31T12:00:00Z",
}


SESSION: dict[str, Any] = {
    "id": ID,
    "user_id": ID,
    "device": "",
    "address": "",
    "created_at": USER["createdAt"],
    "last_used_at": USER["createdAt"],
}


def create(**fields: Any) -> CreateUser:
    body = {"email": "ada@example.com", "password": "correct horse battery", **fields}
    return CreateUser.model_validate_json(json.dumps(body))


def refused(**fields: Any) -> set[str]:
    """Return the invalid fields."""
    with pytest.raises(ValidationError) as error:
        create(**fields)
    return {str(e["loc"][0]) for e in error.value.errors()}


@pytest.mark.parametrize(
    ("email", "canonical"),
    [
        ("Ada@Example.COM", "ada@example.com"),
        ("ADA+store@example.com", "ada+store@example.com"),
        ("Zoe\u0308@example.com", "zo\u00eb@example.com"),
        ("ada@\uff45xample.com", "ada@example.com"),
        ("ada@example\u3002com", "ada@example.com"),
        (" ada@example.com ", "ada@example.com"),
        ("ada@example.test", "ada@example.test"),
        ("Ada@Shop.TEST", "ada@shop.test"),
        ("\u00c9mile@b\u00fccher.example", "\u00e9mile@b\u00fccher.example"),
    ],
)
def test_email_is_normalised(email: str, canonical: str) -> None:
    assert create(email=email).email == canonical_email(email) == canonical
    assert create(email=canonical).email == canonical


@pytest.mark.parametrize(
    "email",
    [
        "",
        "ada",
        "ada@",
        "@example.com",
        "ada@example",
        "a b@example.com",
        "ada@test",
        "ada@localhost",
        "ada@mail.localhost",
        "ada@example.invalid",
        "ada@example.com\n",
        "ada\x00@example.com",
        "Ada <ada@example.com>\x00",
        "Ada <ada@example.com>",
        '"Ada Lovelace" <ada@example.com>',
        "<ada@example.com>",
        " <ada@example.com> ",
        f"ada@{'a' * 63}.{'a' * 63}.{'a' * 63}.{'a' * 63}.com",
        None,
        1,
        ["ada@example.com"],
    ],
)
def test_invalid_email_is_refused(email: object) -> None:
    assert refused(email=email) == {"email"}


@pytest.mark.parametrize("text", ["no email", "Ada <ada@example.com>", "ada\0@example.com", "\ud800", "x" * 1024])
def test_text_that_is_no_email_has_no_other_form(text: str) -> None:
    assert canonical_email(text) == text


@pytest.mark.parametrize("length", [8, 128])
def test_password_has_8_to_128_characters_of_any_kind(length: int) -> None:
    assert create(password="\N{GRINNING FACE}" * length).password == "\N{GRINNING FACE}" * length


@pytest.mark.parametrize("password", ["1234567", "x" * 129, "", None, 12345678])
def test_other_password_is_refused(password: object) -> None:
    assert refused(password=password) == {"password"}


@pytest.mark.parametrize("name", ["", "x" * 201, "a\x00b", 1])
def test_name_has_1_to_200_characters_without_nul(name: object) -> None:
    assert refused(name=name) == {"name"}
    assert create(name="x" * 200).name == "x" * 200
    assert create(name=None).name is None


@pytest.mark.parametrize("body", [r'{"email": "a@example.com", "password": "12345678", "name": "\ud800"}'])
def test_lone_surrogate_is_refused(body: str) -> None:
    with pytest.raises(ValidationError, match=r"name|JSON"):
        CreateUser.model_validate_json(body)


def test_secret_is_not_in_the_text_of_a_message() -> None:
    secret = "the secret itself"
    shown = [
        create(password=secret),
        ChangePassword(id=ID, current_password=secret, new_password=secret),
        Authenticate(email="ada@example.com", password=secret),
        RefreshSession(refresh_token=secret),
        UpdateUser(id=ID, current_password=secret),
        IssuedSession(**SESSION, access_token=secret, expires_in=900, refresh_token=secret),
    ]
    assert not [message for message in shown if secret in repr(message) or secret in str(message)]


def test_credentials_of_any_form_up_to_1024_characters_are_accepted() -> None:
    assert Authenticate(email="no email", password="").password == ""
    with pytest.raises(ValidationError):
        Authenticate(email="x" * 1025, password="")
    with pytest.raises(ValidationError):
        Authenticate(email="x", password="x" * 1025)


def test_unknown_role_is_refused() -> None:
    with pytest.raises(ValidationError, match="role"):
        UpdateUser.model_validate({"id": ID, "role": "owner"})


@pytest.mark.parametrize("event", [UserCreated, UserUpdated])
def test_event_has_the_version_of_the_user(event: type[UserCreated | UserUpdated]) -> None:
    message = event(user=UserView.model_validate(USER))
    assert (message.aggregate_id, message.aggregate_version) == (ID, 7)
    assert json.loads(message.model_dump_json()) == {"user": USER}


def test_request_has_at_most_1000_ids() -> None:
    assert len(GetUsers(ids=(ID,) * 1000).ids) == 1000
    with pytest.raises(ValidationError, match="too_long"):
        GetUsers(ids=(ID,) * 1001)
