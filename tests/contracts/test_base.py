"""What every message does with what it is given."""

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
    """Return what is wrong with a body: a code for each field, "" for the whole."""
    with pytest.raises(ValidationError) as refused:
        message.model_validate_json(body)
    return {".".join(map(str, error["loc"])): error["type"] for error in refused.value.errors()}


@pytest.mark.parametrize(
    ("request_", "reply"),
    [(UpdateUser, UserView), (GetUsers, UserList), (DeleteUser, Done), (GetPayments, PaymentList)],
)
def test_a_request_knows_its_reply(request_: type[Request[Any]], reply: type[Message]) -> None:
    assert request_.reply_type() is reply


def test_a_kind_of_a_request_has_the_same_reply() -> None:
    class GetUsersQuickly(GetUsers):
        """Look some up, quickly."""

    assert GetUsersQuickly.reply_type() is UserList


def test_a_request_without_a_reply_is_a_mistake() -> None:
    class Shout(Request):  # type: ignore[type-arg] # the mistake
        """Say something, and wait for nothing."""

    with pytest.raises(TypeError, match="Shout does not say what it is answered with"):
        Shout.reply_type()


def test_a_command_has_an_address_of_its_own() -> None:
    shown = {"id": ID, "userId": ID, "amount": 1, "createdAt": "2026-01-31T12:00:00Z"}
    command = CreatePayment.model_validate(shown)
    assert command.address == CreatePayment.address_of(UUID(ID)) == f"payments.create.{ID}"


def test_an_event_says_which_aggregate_it_is_about_and_which_version_that_has() -> None:
    event = UserDeleted.model_validate({"id": ID, "version": 3, "deletedAt": "2026-02-01T12:00:00Z"})
    assert (event.aggregate_id, event.aggregate_version) == (UUID(ID), 3)
    with pytest.raises(NotImplementedError):
        _ = Event().aggregate_id
    with pytest.raises(NotImplementedError):
        _ = Event().aggregate_version


def test_an_unknown_field_is_ignored_so_that_a_sender_may_add_one() -> None:
    read = DeleteUser.model_validate_json(json.dumps({"id": ID, "includeOrders": True}))
    assert read == DeleteUser(id=UUID(ID))
    assert json.loads(read.model_dump_json()) == {"id": ID}


def test_a_message_is_written_in_camel_case_and_read_in_either() -> None:
    said = UpdateUser(id=UUID(ID), expected_version=2)
    assert json.loads(said.model_dump_json(exclude_unset=True)) == {"id": ID, "expectedVersion": 2}
    assert UpdateUser.model_validate({"id": ID, "expected_version": 2}) == said


def test_what_was_not_said_can_be_told_from_null() -> None:
    absent = UpdateUser.model_validate_json(json.dumps({"id": ID}))
    null = UpdateUser.model_validate_json(json.dumps({"id": ID, "name": None}))
    assert "name" not in absent.model_fields_set
    assert "name" in null.model_fields_set


@pytest.mark.parametrize(
    "body", ["", "null", "[]", '"text"', "{", "\ufeff{}", '{"id": NaN}', b"\xff\xfe", "[" * 10_000]
)
def test_what_is_no_object_is_refused(body: str | bytes) -> None:
    assert refusals(DeleteUser, body)


text = TypeAdapter[str](Text)


@given(st.text(alphabet=st.characters(exclude_characters="\x00", exclude_categories=["Cs"])))
def test_text_is_any_unicode(value: str) -> None:
    assert text.validate_json(json.dumps(value)) == value
    assert text.validate_json(json.dumps(value, ensure_ascii=False)) == value


@given(st.text(), st.text())
def test_text_is_without_nul(before: str, after: str) -> None:
    with pytest.raises(ValidationError):
        text.validate_python(f"{before}\x00{after}")


@pytest.mark.parametrize("value", ["\x00", "a\x00", "\x00a", "a\n\x00b", "a\n\x00"])
def test_nul_is_found_in_every_line(value: str) -> None:
    with pytest.raises(ValidationError):
        text.validate_json(json.dumps(value))


@pytest.mark.parametrize("body", [r'"\ud800"', r'"a\udfffb"', r'"\udc00\ud800"', b'"\xed\xa0\x80"'])
def test_a_lone_surrogate_is_refused(body: str | bytes) -> None:
    with pytest.raises(ValidationError):
        text.validate_json(body)


@pytest.mark.parametrize("value", ["2026-01-31T12:00:00", "2026-01-31", "yesterday", "24:00", ""])
def test_a_moment_needs_an_offset(value: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Instant).validate_json(json.dumps(value))


def test_a_moment_keeps_its_offset_and_its_microseconds() -> None:
    moment = TypeAdapter(Instant)
    for value in ("2026-01-31T12:00:00.000001Z", "2026-01-31T12:00:00+05:30"):
        assert json.loads(moment.dump_json(moment.validate_json(json.dumps(value)))) == value


@pytest.mark.parametrize("limit", [0, -1, 101, 2**63, 1.5, None, [20]])
def test_a_page_is_of_1_to_100(limit: object) -> None:
    assert "limit" in refusals(ListUsers, json.dumps({"limit": limit}))


def test_a_page_is_of_20_unless_said_otherwise() -> None:
    assert (ListUsers().limit, ListUsers(limit=1).limit, ListUsers(limit=100).limit) == (20, 1, 100)
    assert TypeAdapter(PageSize).validate_python(100) == 100


def test_a_cursor_has_an_end() -> None:
    assert TypeAdapter(Cursor).validate_python("x" * 200)
    assert refusals(ListUsers, json.dumps({"cursor": "x" * 201})) == {"cursor": "string_too_long"}
