"""The currency codes."""

import pycountry
import pytest
from pydantic import TypeAdapter, ValidationError

from contracts.currencies import ISO_4217, Currency

SPECIAL = {"XTS", "XXX"}
"""The code for tests, and the one for transactions without a currency."""
currency = TypeAdapter[str](Currency)


def test_codes_are_those_of_iso_4217_without_two_special_ones() -> None:
    assert {entry.alpha_3 for entry in pycountry.currencies} - SPECIAL == ISO_4217


@pytest.mark.parametrize("code", ["USD", "EUR", "JPY", "CHF", "XAU"])
def test_known_code_is_accepted(code: str) -> None:
    assert currency.validate_python(code) == code


@pytest.mark.parametrize(
    "code", ["usd", "Usd", " USD", "USD\n", "US", "USDT", "XTS", "XXX", "840", "", "\uff35\uff33\uff24", None, 840]
)
def test_other_value_is_refused(code: object) -> None:
    with pytest.raises(ValidationError):
        currency.validate_python(code)


def test_refusal_has_the_code_unknown_currency() -> None:
    with pytest.raises(ValidationError) as refused:
        currency.validate_python("ABC")
    assert refused.value.errors()[0]["type"] == "unknown_currency"


@pytest.mark.parametrize(("code", "meant"), [("usd", "USD"), ("Jpy", "JPY"), (" EUR ", "EUR"), ("chf\n", "CHF")])
def test_refusal_names_the_code_that_was_meant(code: str, meant: str) -> None:
    with pytest.raises(ValidationError) as refused:
        currency.validate_python(code)
    assert refused.value.errors()[0]["msg"].endswith(f'did you mean "{meant}"?')


@pytest.mark.parametrize("code", ["ABC", "xxx", "{usd}", "\uff35\uff33\uff24"])
def test_other_code_gets_an_example(code: str) -> None:
    with pytest.raises(ValidationError) as refused:
        currency.validate_python(code)
    assert refused.value.errors()[0]["msg"].endswith("of ISO 4217, such as USD")


def test_schema_lists_every_code() -> None:
    assert currency.json_schema() == {"type": "string", "enum": sorted(ISO_4217)}
