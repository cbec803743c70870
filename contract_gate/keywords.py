"""The keywords of a JSON Schema: check the types of their values, and merge two sets of keywords that both apply."""

from collections.abc import Callable
from typing import Any

from contract_gate.references import UnreadableError, canonical, differ, shown

Keywords = dict[str, Any]

_TYPES = frozenset({"null", "boolean", "number", "integer", "string", "array", "object"})


def check_keywords(schema: dict[str, Any]) -> None:
    """Raise `UnreadableError` if a keyword that the rules read has a value of the wrong type."""
    for key, value in schema.items():
        if (form := _FORMS.get(key)) is not None and not form[0](value):
            raise UnreadableError(f"A schema is malformed: {key} must be {form[1]}, not {shown(value)}.")


def _is_schema(value: Any) -> bool:
    return isinstance(value, dict | bool)


def _are_schemas(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_schema, value))


def _are_named(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_schema, value.values()))


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_Form = tuple[Callable[[Any], bool], str]
_SCHEMA: _Form = (_is_schema, "a schema")
_SCHEMAS: _Form = (_are_schemas, "a list of schemas")
_NAMED: _Form = (_are_named, "an object of schemas")
_TEXT: _Form = (lambda value: isinstance(value, str), "a text")
_NUMBER: _Form = (_is_number, "a number")
_COUNT: _Form = (lambda value: _is_number(value) and value >= 0, "a number of at least 0")
_FORMS: dict[str, _Form] = {
    **dict.fromkeys(("allOf", "anyOf", "oneOf", "prefixItems"), _SCHEMAS),
    **dict.fromkeys(("properties", "patternProperties", "$defs", "definitions"), _NAMED),
    **dict.fromkeys(("additionalProperties", "additionalItems", "propertyNames"), _SCHEMA),
    **dict.fromkeys(("$ref", "pattern", "format"), _TEXT),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), _NUMBER),
    **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"), _COUNT),
    "items": (lambda value: _is_schema(value) or _are_schemas(value), "a schema or a list of schemas"),
    "required": (_are_texts, "a list of texts"),
    "enum": (lambda value: isinstance(value, list), "a list"),
    "multipleOf": (lambda value: _is_number(value) and value > 0, "a number above 0"),
    "dependentRequired": (
        lambda value: isinstance(value, dict) and all(map(_are_texts, value.values())),
        "an object of lists of texts",
    ),
    "type": (
        lambda value: value in _TYPES if isinstance(value, str) else _are_texts(value) and _TYPES.issuperset(value),
        "a JSON type or a list of them",
    ),
}


def merged(first: Keywords, second: Keywords) -> Keywords:
    """Return keywords that allow exactly the values that both allow; wording and default are those of the first."""
    both = dict(first)
    for key, value in second.items():
        if key not in first:
            both[key] = value
        elif key not in _FIRST and differ(first[key], value):
            both[key] = _BOTH.get(key, _all)(first[key], value)
    return both


def flat(*parts: Any) -> list[Any]:
    """Return the parts, and those inside of an `allOf`, each once.

    Without that, merging a recursive schema would not end.
    """
    unique: dict[str, Any] = {}
    for part in parts:
        inner = flat(*part["allOf"]) if isinstance(part, dict) and set(part) == {"allOf"} else [part]
        unique |= {canonical(one): one for one in inner}
    return list(unique.values())


def _all(first: Any, second: Any) -> Any:
    parts = flat(first, second)
    return parts[0] if len(parts) == 1 else {"allOf": parts}


def _listed(first: Any, second: Any) -> list[Any]:
    """Return both as a list; a value must fit both."""
    return [*_as_list(first), *(one for one in _as_list(second) if one not in _as_list(first))]


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _types(first: Any, second: Any) -> list[str]:
    one, other = set(_as_list(first)), set(_as_list(second))
    both = one & other
    for a, b in ((one, other), (other, one)):
        if "number" in a and "integer" in b:
            both |= {"integer"}
    return sorted(both)


def _common(first: list[Any], second: list[Any]) -> list[Any]:
    allowed = {canonical(value) for value in second}
    return [value for value in first if canonical(value) in allowed]


def _named_schemas(first: Keywords, second: Keywords) -> Keywords:
    return first | second | {name: _all(first[name], second[name]) for name in first if name in second}


def _union(first: list[Any], second: list[Any]) -> list[Any]:
    return list(dict.fromkeys([*first, *second]))


def _dependents(first: Keywords, second: Keywords) -> Keywords:
    return first | {name: _union(first.get(name, []), needs) for name, needs in second.items()}


def _positions(first: list[Any], second: list[Any]) -> list[Any]:
    longer, shorter = sorted((first, second), key=len, reverse=True)
    return [_all(one, shorter[i]) if i < len(shorter) else one for i, one in enumerate(longer)]


_FIRST = frozenset(
    {"x-own-title", "title", "description", "examples", "example", "$comment", "externalDocs", "default", "deprecated"}
)
_BOTH: dict[str, Callable[[Any, Any], Any]] = {
    "type": _types,
    "enum": _common,
    **dict.fromkeys(("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"), max),
    **dict.fromkeys(("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"), min),
    **dict.fromkeys(("pattern", "format", "multipleOf"), _listed),
    "uniqueItems": lambda first, second: first or second,
    "properties": _named_schemas,
    "patternProperties": _named_schemas,
    "required": _union,
    "dependentRequired": _dependents,
    "prefixItems": _positions,
}
