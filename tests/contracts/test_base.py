"""Reading and writing of messages, and the types of their fields."""

import json
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter, ValidationError

from contracts.base import Cursor, Done, Event, Instant, Message, PageSize, Request, Text
from contracts.payments import CreatePayment, GetPayments, PaymentList
from contracts.users import DeleteUser, GetUsers, ListUsers, UpdateUser, UserDeleted, UserList, UserView

ID = "0198c5c8-7c1e-7a52-9d3b-4f1e8a6b2c01"


def refusals(message: type[BaseModel], body: str | bytes) -> dict[str, str]:
    """Return the error code of each invalid field; the name is empty if the whole body is invalid."""
    with pytest.raises(ValidationError) as refused:
        message.model_validate_json(body)
    return {".".join(map(str, error["loc"])): error["type"] for error in refused.value.errors()}


@pytest.mark.parametrize(
    ("request_", "reply"),
    [(UpdateUser, UserView), (GetUsers, UserList), (DeleteUser, Done), (GetPayments, PaymentList)],
)
def test_request_has_a_reply_type(request_: type[Request[Any]], reply: type[Message]) -> None:
    assert request_.reply_type() is reply


def test_subclass_of_a_request_has_the_same_reply_type() -> None:
    class GetUsersQuickly(GetUsers):
        """A subclass."""

    assert GetUsersQuickly.reply_type() is UserList


def test_request_without_a_reply_type_is_an_error() -> None:
    class Shout(Request):  # type: ignore[type-arg] # the error
        """A request without a reply type."""

    with pytest.raises(TypeError, match="Shout has no reply type"):
        Shout.reply_type()


def test_command_has_a_separate_subject() -> None:
    shown = {"id": ID, "userId": ID, "amount": 1, "createdAt": "2026-01-31T12:00:00Z"}
    command = CreatePayment.model_validate(shown)
    assert command.address == CreatePayment.address_of(UUID(ID)) == f"payments.create.key.{ID}"


def test_event_has_the_id_and_version_of_its_aggregate() -> None:
    event = UserDeleted.model_validate({"id": ID, "version": 3, "deletedAt": "2026-02-01T12:00:00Z"})
    assert (event.aggregate_id, event.aggregate_version) == (UUID(ID), 3)
    with pytest.raises(NotImplementedError):
        _ = Event().aggregate_id
    with pytest.raises(NotImplementedError):
        _ = Event().aggregate_version


def test_unknown_field_is_ignored() -> None:
    read = DeleteUser.model_validate_json(json.dumps({"id": ID, "includeOrders": True}))
    assert read == DeleteUser(id=UUID(ID))
    assert json.loads(read.model_dump_json(exclude_unset=True)) == {"id": ID}


def test_message_is_written_in_camel_case_and_read_in_both() -> None:
    message = UpdateUser(id=UUID(ID), expected_version=2)
    assert json.loads(message.model_dump_json(exclude_unset=True)) == {"id": ID, "expectedVersion": 2}
    assert UpdateUser.model_validate({"id": ID, "expected_version": 2}) == message


def test_absent_field_differs_from_null() -> None:
    absent = UpdateUser.model_validate_json(json.dumps({"id": ID}))
    null = UpdateUser.model_validate_json(json.dumps({"id": ID, "name": None}))
    assert "name" not in absent.model_fields_set
    assert "name" in null.model_fields_set


@pytest.mark.parametrize(
    "body", ["", "null", "[]", '"text"', "{", "\ufeff{}", '{"id": NaN}', b"\xff\xfe", "[" * 10_000]
)
def test_body_that_is_not_an_object_is_refused(body: str | bytes) -> None:
    assert refusals(DeleteUser, body)


text = TypeAdapter[str](Text)


@given(st.text(alphabet=st.characters(exclude_characters="\x00", exclude_categories=["Cs"])))
def test_text_accepts_all_unicode(value: str) -> None:
    assert text.validate_json(json.dumps(value)) == value
    assert text.validate_json(json.dumps(value, ensure_ascii=False)) == value


@given(st.text(), st.text())
def test_text_refuses_nul(before: str, after: str) -> None:
    with pytest.raises(ValidationError):
        text.validate_python(f"{before}\x00{after}")


@pytest.mark.parametrize("value", ["\x00", "a\x00", "\x00a", "a\n\x00b", "a\n\x00"])
def test_text_refuses_nul_in_any_line(value: str) -> None:
    with pytest.raises(ValidationError):
        text.validate_json(json.dumps(value))


@pytest.mark.parametrize("body", [r'"\ud800"', r'"a\udfffb"', r'"\udc00\ud800"', b'"\xed\xa0\x80"'])
def test_text_refuses_a_lone_surrogate(body: str | bytes) -> None:
    with pytest.raises(ValidationError):
        text.validate_json(body)


@pytest.mark.parametrize("value", ["2026-01-31T12:00:00", "2026-01-31", "yesterday", "24:00", ""])
def test_instant_needs_an_offset(value: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Instant).validate_json(json.dumps(value))


def test_instant_keeps_its_offset_and_microseconds() -> None:
    instant = TypeAdapter(Instant)
    for value in ("2026-01-31T12:00:00.000001Z", "2026-01-31T12:00:00+05:30"):
        assert json.loads(instant.dump_json(instant.validate_json(json.dumps(value)))) == value


@pytest.mark.parametrize("limit", [0, -1, 101, 2**63, 1.5, None, [20]])
def test_page_size_is_1_to_100(limit: object) -> None:
    assert "limit" in refusals(ListUsers, json.dumps({"limit": limit}))


def test_page_size_is_20_by_default() -> None:
    assert (ListUsers().limit, ListUsers(limit=1).limit, ListUsers(limit=100).limit) == (20, 1, 100)
    assert TypeAdapter(PageSize).validate_python(100) == 100


def test_cursor_has_at_most_200_characters() -> None:
    assert TypeAdapter(Cursor).validate_python("x" * 200)
    assert refusals(ListUsers, json.dumps({"cursor": "x" * 201})) == {"cursor": "string_too_long"}
