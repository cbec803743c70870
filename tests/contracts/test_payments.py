"""Validation and serialization of payments."""

import json
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from contracts.payments import (
    Charge,
    CreatePayment,
    GetPayments,
    PaymentCreated,
    PaymentRejected,
    PaymentStatus,
    PaymentView,
)

ID = UUID("6f1ed002-ab59-8f12-9a34-d5a3f9b1c7e2")
COMMAND: dict[str, Any] = {
    "id": str(ID),
    "userId": "0198c5c8-7c1e-7a52-9d3b-4f1e8a6b2c01",
    "amount": 1999,
    "currency": "JPY",
    "metadata": {"b": "2", "a": "1"},
    "createdAt": "2026-01-31T12:00:00.123456Z",
}
words = st.text(alphabet=st.characters(exclude_characters="\x00", exclude_categories=["Cs"]))
keys = st.text(alphabet=st.characters(exclude_characters="\x00[]", exclude_categories=["Cs"]), min_size=1, max_size=40)


def charge(**fields: Any) -> Charge:
    return Charge.model_validate_json(json.dumps({"amount": 1, **fields}))


def code(**fields: Any) -> str:
    """Return the code of the only error."""
    with pytest.raises(ValidationError) as refused:
        charge(**fields)
    (error,) = refused.value.errors()
    return error["type"]


@pytest.mark.parametrize("amount", [1, 1999, 2**53 - 1])
def test_amount_is_a_positive_integer_up_to_2_53(amount: int) -> None:
    assert charge(amount=amount).amount == amount


@pytest.mark.parametrize(
    ("amount", "error"),
    [
        (0, "greater_than_equal"),
        (-1, "greater_than_equal"),
        (2**53, "less_than_equal"),
        (10**400, "less_than_equal"),
        (1.0, "int_type"),
        (19.99, "int_type"),
        (True, "int_type"),
        ("1999", "int_type"),
        (None, "int_type"),
        ([1], "int_type"),
    ],
)
def test_other_amount_is_refused(amount: object, error: str) -> None:
    assert code(amount=amount) == error


def test_amount_is_required_and_currency_has_a_default() -> None:
    with pytest.raises(ValidationError, match="amount"):
        Charge.model_validate_json("{}")
    assert (charge().currency, charge().metadata) == ("USD", {})
    assert code(currency="ABC") == "unknown_currency"


def test_metadata_has_at_most_50_keys() -> None:
    assert len(charge(metadata={str(n): "" for n in range(50)}).metadata) == 50
    assert code(metadata={str(n): "" for n in range(51)}) == "too_long"


@pytest.mark.parametrize(
    ("metadata", "error"),
    [
        ({"": "x"}, "string_too_short"),
        ({"k" * 41: "x"}, "string_too_long"),
        ({"k": "v" * 501}, "string_too_long"),
        ({"k\x00": "v"}, "string_pattern_mismatch"),
        ({"k[": "v"}, "string_pattern_mismatch"),
        ({"]": "v"}, "string_pattern_mismatch"),
        ({"lines[0]": "v"}, "string_pattern_mismatch"),
        ({"k": "v\x00"}, "string_pattern_mismatch"),
        ({"k": 1}, "string_type"),
        ({"k": None}, "string_type"),
        ({"k": {"deeper": "v"}}, "string_type"),
        ([], "dict_type"),
        ("text", "dict_type"),
        (None, "dict_type"),
    ],
)
def test_other_metadata_is_refused(metadata: object, error: str) -> None:
    assert code(metadata=metadata) == error


def test_schema_of_metadata_limits_every_key() -> None:
    """With `patternProperties` alone, what does not match the pattern is allowed."""
    schema = Charge.model_json_schema()["properties"]["metadata"]
    assert "patternProperties" not in schema
    assert schema["propertyNames"] == {"minLength": 1, "maxLength": 40, "pattern": r"^[^\x00\[\]]*$"}
    assert schema["additionalProperties"]["maxLength"] == 500


def test_longest_metadata_is_accepted() -> None:
    longest = {"\N{GRINNING FACE}" * 40: "\N{GRINNING FACE}" * 500}
    assert charge(metadata=longest).metadata == longest


@pytest.mark.parametrize(
    "body", [r'{"amount": 1, "metadata": {"k": "\ud800"}}', r'{"amount": 1, "metadata": {"\udfff": ""}}']
)
def test_lone_surrogate_is_refused(body: str) -> None:
    with pytest.raises(ValidationError):
        Charge.model_validate_json(body)


@given(st.dictionaries(keys, words.map(lambda value: value[:500]), max_size=50))
def test_metadata_is_sorted_so_equal_payments_have_equal_bytes(metadata: dict[str, str]) -> None:
    forward, backward = charge(metadata=metadata), charge(metadata=dict(reversed(metadata.items())))
    assert forward.model_dump_json() == backward.model_dump_json()
    assert list(forward.metadata) == sorted(metadata)
    assert forward.metadata == metadata


def test_pending_payment_has_the_fields_of_its_command() -> None:
    pending = CreatePayment.model_validate(COMMAND).pending()
    assert json.loads(pending.model_dump_json()) == COMMAND | {"status": "pending"}
    assert list(pending.metadata) == ["a", "b"]


def test_reason_is_left_out_if_there_is_none() -> None:
    rejected = PaymentView.model_validate(COMMAND | {"status": "rejected", "reason": "amount-over-limit"})
    assert json.loads(rejected.model_dump_json())["reason"] == "amount-over-limit"
    assert "reason" not in json.loads(rejected.model_copy(update={"reason": None}).model_dump_json())


@pytest.mark.parametrize("event", [PaymentCreated, PaymentRejected])
def test_event_has_version_1(event: type[PaymentCreated | PaymentRejected]) -> None:
    created = event(payment=CreatePayment.model_validate(COMMAND).pending())
    assert (created.aggregate_id, created.aggregate_version) == (ID, 1)


def test_recorded_payment_in_a_withdrawn_currency_can_be_read() -> None:
    shown = COMMAND | {"currency": "DEM", "status": "created", "reason": None}
    assert PaymentView.model_validate(shown).currency == "DEM"
    assert PaymentView.model_validate(shown).status is PaymentStatus.CREATED


def test_request_has_at_most_1000_ids() -> None:
    assert len(GetPayments(ids=(ID,) * 1000).ids) == 1000
    with pytest.raises(ValidationError, match="too_long"):
        GetPayments(ids=(ID,) * 1001)
