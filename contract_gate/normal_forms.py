"""Normalize a JSON Schema to a list of shapes of one type each, so that equivalent schemas compare equal.

References, `allOf`, `anyOf`, `oneOf`, lists of types, `const` and `nullable` are resolved.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any

from contract_gate.keywords import check_keywords, merged
from contract_gate.references import canonical, resolve

TYPES = ("null", "boolean", "number", "string", "array", "object")
"""The JSON types; an integer is a number."""

_OWN = "x-own-title"  # title of a union's member, which the title of the union would hide
WORDING = frozenset({_OWN, "title", "description", "examples", "example", "$comment", "externalDocs"})
"""Annotations for people, which validate nothing."""

RELEVANT = {
    "null": frozenset[str](),
    "boolean": frozenset[str](),
    "number": frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "format"}),
    "string": frozenset({"minLength", "maxLength", "pattern", "format", "contentEncoding", "contentMediaType"}),
    "array": frozenset({"items", "prefixItems", "minItems", "maxItems", "uniqueItems"}),
    "object": frozenset(
        {
            *("properties", "required", "additionalProperties", "patternProperties", "propertyNames"),
            *("minProperties", "maxProperties", "dependentRequired"),
        }
    ),
}
"""The keywords that apply to each type and that have rules."""

EVERY = frozenset({"type", "enum", "default", "deprecated", "readOnly", "writeOnly"})
KNOWN = frozenset().union(WORDING, EVERY, *RELEVANT.values())
_COMBINING = frozenset(
    {"$ref", "allOf", "anyOf", "oneOf", "const", "nullable", "$defs", "definitions", "$id", "$schema"}
)
_MAX_ALTERNATIVES = 200


@dataclass(frozen=True)
class Shape:
    """A set of values of one type, and the keywords that limit it."""

    type: str
    keywords: Mapping[str, Any]
    whole: bool = False
    """For numbers: integers only."""

    @property
    def values(self) -> dict[str, Any] | None:
        """The enumerated values by their canonical text; None if they are not enumerated."""
        listed = self.keywords.get("enum")
        return None if listed is None else {canonical(value): value for value in listed}

    @property
    def name(self) -> str:
        """The title that distinguishes it from other shapes of its type; "" without one."""
        return str(self.keywords.get(_OWN) or self.keywords.get("title", ""))


def shapes(schema: Any, root: Any) -> list[Shape]:
    """Return the shapes of a schema of the document `root`; a value is valid if it fits one of them.

    Raises `UnreadableError` if a reference cannot be resolved or a keyword has a value of the wrong type.
    """
    distinct: list[Shape] = []
    for keywords in _alternatives(schema, root, frozenset()):
        for shape in _typed(keywords):
            _add(distinct, shape)
    return distinct


def _alternatives(schema: Any, root: Any, seen: frozenset[str]) -> list[dict[str, Any]]:
    if schema is False:
        return []
    if not isinstance(schema, dict):
        return [{}]
    check_keywords(schema)
    own = {key: value for key, value in schema.items() if key not in _COMBINING}
    if "const" in schema:
        own = merged(own, {"enum": [schema["const"]]})
    groups = [[own]]
    if (reference := schema.get("$ref")) is not None:
        # A reference cycle that never descends into the value restricts nothing.
        known = reference in seen
        groups.append([{}] if known else _alternatives(resolve(root, reference), root, seen | {reference}))
    groups += [_alternatives(part, root, seen) for part in schema.get("allOf", [])]
    for key in ("anyOf", "oneOf"):
        if key in schema:
            members = [
                {_OWN: one.get("title"), **one} for part in schema[key] for one in _alternatives(part, root, seen)
            ]
            # oneOf rejects a value that fits two members; if no value can, it equals anyOf.
            alike = key == "oneOf" and any(_overlap(one, other, root) for one, other in combinations(members, 2))
            groups.append([{**one, "oneOf": True} for one in members] if alike else members)
    if math.prod(map(len, groups)) > _MAX_ALTERNATIVES:
        return [own | {key: schema[key] for key in ("allOf", "anyOf", "oneOf") if key in schema}]
    combined: list[dict[str, Any]] = [{}]
    for group in groups:
        combined = [merged(one, other) for one in combined for other in group]
    return [*combined, {"type": "null"}] if schema.get("nullable") is True else combined


def _overlap(one: dict[str, Any], other: dict[str, Any], root: Any) -> bool:
    """Return whether a value may fit both, judged by type, enumerated values and one common required field."""
    for first, second in product(_typed(one), _typed(other)):
        if first.type != second.type or _apart(first, second):
            continue
        fields, others = (side.keywords.get("properties", {}) for side in (first, second))
        needed = {*first.keywords.get("required", [])} & {*second.keywords.get("required", [])} & {*fields} & {*others}
        if not any(_all_apart(shapes(fields[name], root), shapes(others[name], root)) for name in needed):
            return True
    return False


def _all_apart(ones: list[Shape], others: list[Shape]) -> bool:
    return all(one.type != other.type or _apart(one, other) for one, other in product(ones, others))


def _apart(one: Shape, other: Shape) -> bool:
    return one.values is not None and other.values is not None and one.values.keys().isdisjoint(other.values)


def _typed(keywords: dict[str, Any]) -> list[Shape]:
    types = keywords.get("type", list(TYPES))
    names = [types] if isinstance(types, str) else list(types)
    whole = "integer" in names and "number" not in names
    typed = []
    for kind in TYPES:
        if kind in names or (kind == "number" and whole):
            others = frozenset().union(*RELEVANT.values()) - RELEVANT[kind]
            own = {key: value for key, value in keywords.items() if key not in others and key != "type"}
            if "enum" in own:
                own["enum"] = [value for value in own["enum"] if _type_of(value) == kind]
            elif kind in {"null", "boolean"}:
                own["enum"] = [None] if kind == "null" else [False, True]
            if own.get("enum") != []:
                typed.append(Shape(kind, own, whole=whole and kind == "number"))
    return typed


def _add(distinct: list[Shape], shape: Shape) -> None:
    """Add a shape; join enumerations: [a] or [b] is [a, b]."""
    for index, known in enumerate(distinct):
        if known.type == shape.type and known.values is not None and shape.values is not None:
            joined = list((known.values | shape.values).values())
            distinct[index] = Shape(known.type, {**known.keywords, "enum": joined}, known.whole and shape.whole)
            return
        if canonical([known.type, known.whole, known.keywords]) == canonical([shape.type, shape.whole, shape.keywords]):
            return
    distinct.append(shape)


def _type_of(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"
