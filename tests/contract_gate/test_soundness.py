"""No change is called safe if the JSON Schema validator finds a value that shows the difference."""

from itertools import product
from typing import Any

import jsonschema

from contract_gate.changes import Direction, Severity
from contract_gate.references import canonical
from tests.contract_gate.test_schemas import OTHERS, RULES, SAME, compared, many, number, text, thing, whole

# Pairs of these are tried with every value: a value that only one of them allows must be reported.
SCHEMAS: list[Any] = [
    *(side for row in RULES for side in row[:2]),
    *(side for row in OTHERS for side in row[:2]),
    *(side for pair in SAME for side in pair),
    {"anyOf": [text(maxLength=1), text(pattern="^[ab]+$")]},
    {"anyOf": [whole(maximum=0), number(minimum=8)]},
    {"anyOf": [text(enum=["a"]), text(minLength=3)]},
    {"allOf": [number(minimum=1), {"anyOf": [whole(), {"maximum": 2}]}]},
    thing("a", a={"anyOf": [thing("b", b=text()), text()]}),
    many(items={"anyOf": [text(), {"type": "null"}]}, minItems=1),
    False,
]
VALUES: list[Any] = [
    *(
        None,
        True,
        False,
        0,
        1,
        2,
        3,
        4,
        8,
        9,
        10,
        -1,
        0.5,
        1.5,
        8.5,
        1.0,
        "",
        "a",
        "b",
        "ab",
        "abc",
        "banana",
        "zzzzzzzzzzzz",
    ),
    *("2026-01-31", "2026-01-31T12:00:00Z", "0198c5c8-7c1e-7a52-9d3b-4f1e8a6b2c01"),
    *([], ["a"], ["b"], ["a", "a"], ["a", "b"], [1], [None], ["ab"], ["a", None], list("abcabcabcabc")),
    *({}, {"a": "a"}, {"a": "ab"}, {"b": "a"}, {"a": "a", "b": "b"}, {"name": "a"}, {"name": "a", "below": []}),
    *(
        {"k": "a"},
        {"k": "b"},
        {"k": "c"},
        {"a": {}},
        {"a": {"b": "b"}},
        {"a": {"b": "ab"}},
        {"a": 1},
        {"zz": "a"},
        {"zz": 1},
        {"below": [{}]},
    ),
]
_STRIDE = 5  # of about 12,000 pairs, for speed; prime to the row length, so that each schema meets many others
# Fields that only one side names are a convention: readers ignore unknown fields.
_CONVENTION = ("field-added", "field-removed", "other-fields-open")


def test_no_observable_difference_is_called_safe() -> None:
    checker = jsonschema.FormatChecker(["date", "uuid"])
    known = (schema for schema in SCHEMAS if "nullable" not in canonical(schema))  # a keyword of OpenAPI 3.0
    unique = list({canonical(schema): schema for schema in known}.values())
    allowed = [_allowed(jsonschema.Draft202012Validator(schema, format_checker=checker)) for schema in unique]
    pairs = list(product(zip(unique, allowed, strict=True), repeat=2))
    for (old, before), (new, after) in pairs[::_STRIDE]:
        for direction, lost in ((Direction.INPUT, before - after), (Direction.OUTPUT, after - before)):
            changes = compared(old, new, direction).values()
            reported = any(c.severity is not Severity.SAFE or c.code in _CONVENTION for c in changes)
            assert reported or not lost, f"{old} -> {new} ({direction}): {[VALUES[i] for i in lost]} {list(changes)}"


def _allowed(validator: Any) -> set[int]:
    return {index for index, value in enumerate(VALUES) if validator.is_valid(value)}
