"""A malformed document ends in `UnreadableError`, wherever it is malformed, and never in another exception."""

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from contract_gate import gate, sources
from contract_gate.changes import Direction
from contract_gate.keywords import check_keywords
from contract_gate.references import UnreadableError
from contract_gate.schemas import compare_schemas
from contract_gate.sources import Documents
from tests.contract_gate.documents import system, unchanged
from tests.contract_gate.writing import TEXT

JUNK: list[Any] = [None, 7, "x", [], {}, [7], {"$ref": 7}, {"$ref": "#/nowhere"}, {"x": 7}]
_STRIDE = 7  # of about 14,000 replacements, for speed


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each container of a document with each of its keys."""
    for key, inner in list(value.items() if isinstance(value, dict) else enumerate(value)):
        yield value, key
        if isinstance(inner, dict | list):
            yield from places(inner)


def read(documents: Documents) -> Documents:
    """Return the documents as they are read from files."""
    every = [*documents.events, *documents.http]
    return sources.from_texts({f"{number}.json": json.dumps(one) for number, one in enumerate(every)})


def compare_both_ways(good: Documents, bad: Documents) -> None:
    for sides in ((good, bad), (bad, good)):
        with suppress(UnreadableError):
            gate.compare(*sides)


def test_any_value_may_be_replaced_by_junk() -> None:
    documents = system()
    containers = [*documents.events, *documents.http]
    for number, (container, key) in enumerate(places(containers)):
        if number % _STRIDE or container is containers:
            continue
        original, container[key] = container[key], JUNK[number // _STRIDE % len(JUNK)]
        with suppress(UnreadableError):
            compare_both_ways(unchanged(), read(documents))
        container[key] = original


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"properties": [1]}, "properties must be an object of schemas, not [1]"),
        ({"properties": {"a": 1}}, "properties must be an object of schemas"),
        ({"required": "a"}, "required must be a list of texts"),
        ({"enum": 5}, "enum must be a list"),
        ({"allOf": {}}, "allOf must be a list of schemas"),
        ({"type": "text"}, "type must be a JSON type"),
        ({"minLength": "1"}, "minLength must be a number"),
        ({"multipleOf": 0}, "multipleOf must be a number above 0"),
        ({"$ref": 7}, "$ref must be a text"),
        ({"dependentRequired": {"a": "b"}}, "dependentRequired must be an object of lists of texts"),
    ],
)
def test_keyword_of_the_wrong_type_is_named(schema: Any, message: str) -> None:
    with pytest.raises(UnreadableError) as caught:
        compare_schemas(schema, TEXT, Direction.INPUT, old_root=schema, new_root=TEXT)
    assert message in str(caught.value)


def test_well_formed_keywords_are_accepted() -> None:
    check_keywords({"type": ["string", "null"], "items": True, "minimum": 1.5, "properties": {"a": {}}})


def test_schema_nested_too_deeply_is_risky() -> None:
    def nested(depth: int, leaf: Any) -> Any:
        return leaf if depth == 0 else {"type": "object", "properties": {"a": nested(depth - 1, leaf)}}

    changes = compare_schemas(nested(80, TEXT), nested(80, {"type": "null"}), Direction.INPUT, old_root={}, new_root={})
    assert [change.code for change in changes] == ["too-deep"]


def test_schema_nested_without_end_is_unreadable() -> None:
    schema: Any = TEXT
    for _ in range(5000):
        schema = {"allOf": [schema, {}]}
    documents = system()
    documents.events[0]["components"]["schemas"]["CreateUser"] = schema
    with pytest.raises(UnreadableError, match="nested too deeply"):
        gate.compare(documents, unchanged())
