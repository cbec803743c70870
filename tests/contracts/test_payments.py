"""What a payment may be."""

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


def charge(**fields: Any) -> Charge:
    return Charge.model_validate_json(json.dumps({"amount": 1, **fields}))


def code(**fields: Any) -> str:
    """Return the code of the one thing that is wrong."""
    with pytest.raises(ValidationError) as refused:
        charge(**fields)
    (error,) = refused.value.errors()
    return error["type"]


@pytest.mark.parametrize("amount", [1, 1999, 2**53 - 1])
def test_an_amount_is_a_positive_whole_number_that_every_reader_of_json_can_tell(amount: int) -> None:
    assert charge(amount=amount).amount == amount


@pytest.mark.parametrize(
    ("amount", "why"),
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
def test_no_other_amount_is_taken(amount: object, why: str) -> None:
    assert code(amount=amount) == why


def test_an_amount_must_be_said_and_a_currency_need_not_be() -> None:
    with pytest.raises(ValidationError, match="amount"):
        Charge.model_validate_json("{}")
    assert (charge().currency, charge().metadata) == ("USD", {})
    assert code(currency="ABC") == "unknown_currency"


def test_metadata_has_at_most_50_keys() -> None:
    assert len(charge(metadata={str(n): "" for n in range(50)}).metadata) == 50
    assert code(metadata={str(n): "" for n in range(51)}) == "too_long"


@pytest.mark.parametrize(
    ("metadata", "why"),
    [
        ({"": "x"}, "string_too_short"),
        ({"k" * 41: "x"}, "string_too_long"),
        ({"k": "v" * 501}, "string_too_long"),
        ({"k\x00": "v"}, "string_pattern_mismatch"),
        ({"k": "v\x00"}, "string_pattern_mismatch"),
        ({"k": 1}, "string_type"),
        ({"k": None}, "string_type"),
        ({"k": {"deeper": "v"}}, "string_type"),
        ([], "dict_type"),
        ("text", "dict_type"),
        (None, "dict_type"),
    ],
)
def test_no_other_metadata_are_taken(metadata: object, why: str) -> None:
    assert code(metadata=metadata) == why


def test_the_longest_metadata_are_taken() -> None:
    longest = {"\N{GRINNING FACE}" * 40: "\N{GRINNING FACE}" * 500}
    assert charge(metadata=longest).metadata == longest


@pytest.mark.parametrize(
    "body", [r'{"amount": 1, "metadata": {"k": "\ud800"}}', r'{"amount": 1, "metadata": {"\udfff": ""}}']
)
def test_a_lone_surrogate_is_refused(body: str) -> None:
    with pytest.raises(ValidationError):
        Charge.model_validate_json(body)


@given(st.dictionaries(words.filter(lambda key: 0 < len(key) <= 40), words.map(lambda value: value[:500]), max_size=50))
def test_equal_metadata_are_equal_byte_for_byte(metadata: dict[str, str]) -> None:
    there, back = charge(metadata=metadata), charge(metadata=dict(reversed(metadata.items())))
    assert there.model_dump_json() == back.model_dump_json()
    assert list(there.metadata) == sorted(metadata)
    assert there.metadata == metadata


def test_a_payment_is_shown_as_it_will_be_until_it_is() -> None:
    pending = CreatePayment.model_validate(COMMAND).pending()
    assert json.loads(pending.model_dump_json()) == COMMAND | {"status": "pending"}
    assert list(pending.metadata) == ["a", "b"]


def test_a_reason_is_said_only_where_there_is_one() -> None:
    rejected = PaymentView.model_validate(COMMAND | {"status": "rejected", "reason": "amount-over-limit"})
    assert json.loads(rejected.model_dump_json())["reason"] == "amount-over-limit"
    assert "reason" not in json.loads(rejected.model_copy(update={"reason": None}).model_dump_json())


@pytest.mark.parametrize("event", [PaymentCreated, PaymentRejected])
def test_an_event_is_the_payments_first_and_last(event: type[PaymentCreated | PaymentRejected]) -> None:
    said = event(payment=CreatePayment.model_validate(COMMAND).pending())
    assert (said.aggregate_id, said.aggregate_version) == (ID, 1)


def test_a_payment_of_before_can_be_read_though_its_currency_is_no_longer_one() -> None:
    # What was once recorded is shown, whatever the list says today.
    shown = COMMAND | {"currency": "DEM", "status": "created", "reason": None}
    assert PaymentView.model_validate(shown).currency == "DEM"
    assert PaymentView.model_validate(shown).status is PaymentStatus.CREATED


def test_many_payments_are_at_most_a_thousand() -> None:
    assert len(GetPayments(ids=(ID,) * 1000).ids) == 1000
    with pytest.raises(ValidationError, match="too_long"):
        GetPayments(ids=(ID,) * 1001)
