"""The list of currencies."""

import pycountry
import pytest
from pydantic import TypeAdapter, ValidationError

from contracts.currencies import ISO_4217, Currency

WITHOUT_MONEY = {"XTS", "XXX"}
currency = TypeAdapter[str](Currency)


def test_the_list_is_that_of_iso_4217_but_for_two_codes_that_are_no_money() -> None:
    assert {entry.alpha_3 for entry in pycountry.currencies} - WITHOUT_MONEY == ISO_4217


@pytest.mark.parametrize("code", ["USD", "EUR", "JPY", "CHF", "XAU"])
def test_a_known_code_is_taken(code: str) -> None:
    assert currency.validate_python(code) == code


@pytest.mark.parametrize(
    "code", ["usd", "Usd", " USD", "USD\n", "US", "USDT", "XTS", "XXX", "840", "", "\uff35\uff33\uff24", None, 840]
)
def test_anything_else_is_not(code: object) -> None:
    with pytest.raises(ValidationError):
        currency.validate_python(code)


def test_the_refusal_has_a_code_of_its_own() -> None:
    with pytest.raises(ValidationError) as refused:
        currency.validate_python("ABC")
    assert refused.value.errors()[0]["type"] == "unknown_currency"


def test_the_documentation_lists_every_code() -> None:
    assert currency.json_schema() == {"type": "string", "enum": sorted(ISO_4217)}
