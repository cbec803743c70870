"""Every schema rule in both directions: narrowing breaks senders, widening breaks readers."""

from itertools import product
from typing import Any

import pytest

from contract_gate.changes import Change, Direction, Severity
from contract_gate.references import UnreadableError
from contract_gate.schemas import compare_schemas

BREAKING, RISKY, SAFE = Severity.BREAKING, Severity.RISKY, Severity.SAFE
INPUT, OUTPUT = Direction.INPUT, Direction.OUTPUT


def compared(old: Any, new: Any, direction: Direction) -> dict[str, Change]:
    changes = compare_schemas(old, new, direction, old_root=old, new_root=new)
    return {change.id: change for change in changes if change.code != "wording-changed"}


def tree(*required: str) -> Any:
    """Return a recursive schema."""
    node = thing(*required, name=text(), below=many(items={"$ref": "#/$defs/Tree"}))
    return {"$ref": "#/$defs/Tree", "$defs": {"Tree": node}}


def levels(old: Any, new: Any, direction: Direction) -> dict[str, Severity]:
    return {name.lstrip(": "): change.severity for name, change in compared(old, new, direction).items()}


def text(**keywords: Any) -> Any:
    return {"type": "string", **keywords}


def number(**keywords: Any) -> Any:
    return {"type": "number", **keywords}


def whole(**keywords: Any) -> Any:
    return {"type": "integer", **keywords}


def many(**keywords: Any) -> Any:
    return {"type": "array", **keywords}


def thing(*required: str, **properties: Any) -> Any:
    return {"type": "object", "properties": properties, "required": list(required)}


# wider schema, narrower schema, id of the change to the narrower one, id of the change back
RULES = [
    (text(), text(minLength=1), "minLength-raised", "minLength-lowered"),
    (text(maxLength=9), text(maxLength=5), "maxLength-lowered", "maxLength-raised"),
    (text(), text(pattern="^a"), "pattern-added", "pattern-removed"),
    (text(), text(format="uuid"), "format-added", "format-removed"),
    (text(), text(enum=["a"]), "values-limited", "values-unlimited"),
    (text(enum=["a", "b"]), text(enum=["a"]), 'value-removed "b"', 'value-added "b"'),
    ({"enum": [1, 2]}, {"const": 1}, "value-removed 2", "value-added 2"),
    ({"enum": [True, False]}, {"const": True}, "value-removed false", "value-added false"),
    (text(maxLength=3), text(enum=["ab"]), "values-limited", "values-unlimited"),
    (number(), number(minimum=1), "minimum-raised", "minimum-lowered"),
    (number(maximum=9), number(maximum=8), "maximum-lowered", "maximum-raised"),
    (number(minimum=1), number(exclusiveMinimum=1), "minimum-raised", "minimum-lowered"),
    (number(maximum=1), number(exclusiveMaximum=1), "maximum-lowered", "maximum-raised"),
    (number(), whole(), "type-narrowed integer", "type-widened number"),
    (whole(), whole(multipleOf=2), "multipleOf-added", "multipleOf-removed"),
    (whole(multipleOf=2), whole(multipleOf=4), "multipleOf-raised", "multipleOf-lowered"),
    ({"type": ["string", "null"]}, text(), "type-removed null", "type-added null"),
    ({"anyOf": [text(), {"type": "null"}]}, text(), "type-removed null", "type-added null"),
    ({"type": "string", "nullable": True}, text(), "type-removed null", "type-added null"),
    ({"type": ["integer", "string"]}, text(), "type-removed integer", "type-added integer"),
    (True, {"type": ["null", "boolean", "number", "string", "array"]}, "type-removed object", "type-added object"),
    (many(), many(minItems=1), "minItems-raised", "minItems-lowered"),
    (many(maxItems=9), many(maxItems=1), "maxItems-lowered", "maxItems-raised"),
    (many(), many(uniqueItems=True), "unique-added", "unique-removed"),
    (many(items=text()), many(items=text(maxLength=1)), "/[]: maxLength-lowered", "/[]: maxLength-raised"),
    (
        many(prefixItems=[text()]),
        many(prefixItems=[text(enum=["a"])]),
        "/0: values-limited",
        "/0: values-unlimited",
    ),
    (
        many(prefixItems=[text(), text()], items=text()),
        many(prefixItems=[text(), text(pattern="a")], items=text()),
        "/1: pattern-added",
        "/1: pattern-removed",
    ),
    (thing(a=text()), thing("a", a=text()), "/a: required-added", "/a: required-removed"),
    (thing(), thing("a"), "/a: required-added", "/a: required-removed"),
    (
        thing(a=thing(b=text())),
        thing(a=thing(b=text(maxLength=1))),
        "/a/b: maxLength-lowered",
        "/a/b: maxLength-raised",
    ),
    ({"type": "object"}, {"type": "object", "minProperties": 1}, "minProperties-raised", "minProperties-lowered"),
    ({"type": "object"}, {"type": "object", "maxProperties": 1}, "maxProperties-lowered", "maxProperties-raised"),
    (
        {"type": "object"},
        {"type": "object", "propertyNames": {"pattern": "^a"}},
        "/{name}: pattern-added",
        "/{name}: pattern-removed",
    ),
    (
        {"type": "object", "additionalProperties": text()},
        {"type": "object", "additionalProperties": text(maxLength=1)},
        "/*: maxLength-lowered",
        "/*: maxLength-raised",
    ),
    (
        {"type": "object", "patternProperties": {"^a": text()}},
        {"type": "object", "patternProperties": {"^a": text(maxLength=1)}},
        "/{^a}: maxLength-lowered",
        "/{^a}: maxLength-raised",
    ),
    (
        {"type": "object"},
        {"type": "object", "patternProperties": {"^a": text()}},
        "/{^a}: pattern-field-added",
        "/{^a}: pattern-field-removed",
    ),
    (
        {"type": "object"},
        {"type": "object", "dependentRequired": {"a": ["b"]}},
        "/b: required-with a",
        "/b: not-required-with a",
    ),
    (
        {"allOf": [text(), {"maxLength": 9}]},
        {"allOf": [text(), {"maxLength": 5}]},
        "maxLength-lowered",
        "maxLength-raised",
    ),
    ({"anyOf": [text(), whole()]}, {"anyOf": [text(maxLength=1), whole()]}, "maxLength-lowered", "maxLength-raised"),
    (
        {"oneOf": [{"title": "A", **thing("k", k={"const": "a"})}, {"title": "B", **thing("k", k={"const": "b"})}]},
        {"oneOf": [{"title": "A", **thing("k", k={"const": "a"})}]},
        "variant-removed B",
        "variant-added B",
    ),
    (
        tree(),
        tree("name"),
        "/name: required-added",
        "/name: required-removed",
    ),
]


@pytest.mark.parametrize(
    ("wide", "narrow", "narrower", "wider"), RULES, ids=[f"{n} {row[2]}" for n, row in enumerate(RULES)]
)
def test_narrowing_breaks_senders_and_widening_breaks_readers(
    wide: Any, narrow: Any, narrower: str, wider: str
) -> None:
    assert levels(wide, narrow, INPUT) == {narrower: BREAKING}
    assert levels(wide, narrow, OUTPUT) == {narrower: SAFE}
    assert levels(narrow, wide, INPUT) == {wider: SAFE}
    assert levels(narrow, wide, OUTPUT) == {wider: BREAKING}


CLOSED = {"type": "object", "properties": {}, "additionalProperties": False}
MAP = {"type": "object", "additionalProperties": text()}

# old schema, new schema, id of the change, severity if the owner receives, severity if the owner sends
OTHERS = [
    (thing(), thing(a=text()), "/a: field-added", SAFE, SAFE),
    (thing(), thing("a", a=text()), "/a: required-added", BREAKING, None),
    (thing(a=text()), thing(), "/a: field-removed", RISKY, BREAKING),
    (thing("a", a=text()), thing(), "/a: field-removed", RISKY, BREAKING),
    (thing(a=text()) | {"additionalProperties": False}, CLOSED, "/a: field-removed", BREAKING, BREAKING),
    (CLOSED, thing(a=text()) | {"additionalProperties": False}, "/a: field-added", SAFE, RISKY),
    ({"type": "object"}, CLOSED, "/*: other-fields-closed", BREAKING, SAFE),
    (CLOSED, {"type": "object"}, "/*: other-fields-open", SAFE, RISKY),
    (MAP, CLOSED, "/*: other-fields-closed", BREAKING, RISKY),
    (CLOSED, MAP, "/*: other-fields-map", SAFE, RISKY),
    ({"type": "object"}, MAP, "/*: other-fields-map", BREAKING, SAFE),
    (MAP, {"type": "object"}, "/*: other-fields-open", SAFE, BREAKING),
    (MAP, MAP | {"properties": {"a": whole()}}, "/a: type-removed string", BREAKING, None),
    (MAP, MAP | {"properties": {"a": whole()}}, "/a: type-added integer", None, BREAKING),
    (text(pattern="^a"), text(pattern="^b"), "pattern-changed", BREAKING, BREAKING),
    (text(format="date"), text(format="date-time"), "format-changed", BREAKING, BREAKING),
    (text(format="one"), text(format="other"), "format-changed", RISKY, RISKY),
    (text(contentEncoding="base64"), text(), "contentEncoding-changed", BREAKING, BREAKING),
    (whole(multipleOf=2), whole(multipleOf=3), "multipleOf-changed", BREAKING, BREAKING),
    (text(default="a"), text(default="b"), "default-changed", RISKY, RISKY),
    (text(default="a"), text(), "default-changed", RISKY, RISKY),
    (text(default=None), text(), "default-changed", RISKY, RISKY),
    (text(default=1), text(default=True), "default-changed", RISKY, RISKY),
    (text(), text(default="a"), "default-added", SAFE, SAFE),
    (text(), text(deprecated=True), "deprecation-changed", SAFE, SAFE),
    (text(), text(readOnly=True), "readOnly-changed", RISKY, RISKY),
    (text(), text(**{"not": {"const": "a"}}), "not-changed", RISKY, RISKY),
    (many(), many(contains=text()), "contains-changed", RISKY, RISKY),
    ({}, {"unevaluatedProperties": False}, "unevaluatedProperties-changed", RISKY, RISKY),
    (text(), text(**{"x-secret": True}), "x-secret-changed", RISKY, RISKY),
    (
        {"anyOf": [thing("a", a=text()), thing("b", b=text())]},
        {"oneOf": [thing("a", a=text()), thing("b", b=text())]},
        "(1): oneOf-changed",
        RISKY,
        RISKY,
    ),
    (text(), whole(), "type-removed string", BREAKING, None),
    (text(), whole(), "type-added integer", None, BREAKING),
]


@pytest.mark.parametrize(
    ("old", "new", "name", "sent", "read"), OTHERS, ids=[f"{n} {row[2]}" for n, row in enumerate(OTHERS)]
)
def test_changes_that_neither_narrow_nor_widen(
    old: Any, new: Any, name: str, sent: Severity | None, read: Severity | None
) -> None:
    for direction, level in ((INPUT, sent), (OUTPUT, read)):
        if level is not None:
            assert levels(old, new, direction)[name] is level
            if level is not BREAKING:
                assert BREAKING not in levels(old, new, direction).values()


SAME = [
    (text(), {"type": ["string"]}),
    ({"anyOf": [text(), {"type": "null"}]}, {"type": ["null", "string"]}),
    ({"enum": ["a", "b"]}, {"anyOf": [{"const": "b"}, {"enum": ["a"]}]}),
    (whole(minimum=1), whole(exclusiveMinimum=0)),
    (whole(maximum=9), {"type": "integer", "exclusiveMaximum": 10.0}),
    ({"allOf": [text(minLength=1), {"maxLength": 3}]}, text(minLength=1, maxLength=3)),
    ({"anyOf": [text(), text()]}, text()),
    ({"type": "boolean"}, {"enum": [False, True]}),
    (True, {}),
    ({"$ref": "#/$defs/A", "$defs": {"A": text()}}, {"$ref": "#/$defs/B", "$defs": {"B": text()}}),
    (
        {"$ref": "#/$defs/A", "$defs": {"A": thing(next={"$ref": "#/$defs/A"})}},
        {
            "$ref": "#/$defs/B",
            "$defs": {"B": thing(next={"$ref": "#/$defs/C"}), "C": thing(next={"$ref": "#/$defs/B"})},
        },
    ),
    (thing("a", "b", a=text(), b=text()), thing("b", "a", b=text(), a=text())),
]


@pytest.mark.parametrize(("one", "other"), SAME, ids=range(len(SAME)))
def test_equivalent_schemas_have_no_changes(one: Any, other: Any) -> None:
    for old, new, direction in product((one, other), (one, other), Direction):
        assert compared(old, new, direction) == {}


def test_comparison_of_recursive_schemas_terminates() -> None:
    def list_of(**more: Any) -> Any:
        node = {"allOf": [{"$ref": "#/$defs/Base"}, thing(next={"$ref": "#/$defs/Node"})]}
        return {"$ref": "#/$defs/Node", "$defs": {"Node": node, "Base": thing(next={"$ref": "#/$defs/Base"}, **more)}}

    severities = levels(list_of(), list_of(name=text()), INPUT)
    assert "/name: field-added" in severities
    assert set(severities.values()) == {SAFE}
    endless = {"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/A"}}}
    assert compared(endless, True, INPUT) == {}


def test_broken_reference_raises() -> None:
    for reference in ("#/$defs/Gone", "https://example.com/schema.json"):
        with pytest.raises(UnreadableError, match=r"The reference .* (cannot be resolved|is not to a place)"):
            compared({"$ref": reference}, text(), INPUT)
