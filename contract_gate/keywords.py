"""Check that the keywords of a schema have values of the types that JSON Schema requires."""

from collections.abc import Callable
from typing import Any

from contract_gate.references import UnreadableError, shown

_TYPES = frozenset({"null", "boolean", "number", "integer", "string", "array", "object"})


def check_keywords(schema: dict[str, Any]) -> None:
    """Raise `UnreadableError` if a keyword that the rules read has a value of the wrong type."""
    for key, value in schema.items():
        if (form := _FORMS.get(key)) is not None and not form[0](value):
            raise UnreadableError(f"A schema is malformed: {key} must be {form[1]}, not {shown(value)}.")


def _schema(value: Any) -> bool:
    return isinstance(value, dict | bool)


def _schemas(value: Any) -> bool:
    return isinstance(value, list) and all(map(_schema, value))


def _named_schemas(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_schema, value.values()))


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_Form = tuple[Callable[[Any], bool], str]
_SCHEMA: _Form = (_schema, "a schema")
_SCHEMAS: _Form = (_schemas, "a list of schemas")
_NAMED: _Form = (_named_schemas, "an object of schemas")
_TEXT: _Form = (lambda value: isinstance(value, str), "a text")
_NUMBER: _Form = (_number, "a number")
_COUNT: _Form = (lambda value: _number(value) and value >= 0, "a number of at least 0")
_FORMS: dict[str, _Form] = {
    **dict.fromkeys(("allOf", "anyOf", "oneOf", "prefixItems"), _SCHEMAS),
    **dict.fromkeys(("properties", "patternProperties", "$defs", "definitions"), _NAMED),
    **dict.fromkeys(("additionalProperties", "additionalItems", "propertyNames"), _SCHEMA),
    **dict.fromkeys(("$ref", "pattern", "format"), _TEXT),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), _NUMBER),
    **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"), _COUNT),
    "items": (lambda value: _schema(value) or _schemas(value), "a schema or a list of schemas"),
    "required": (_texts, "a list of texts"),
    "enum": (lambda value: isinstance(value, list), "a list"),
    "multipleOf": (lambda value: _number(value) and value > 0, "a number above 0"),
    "dependentRequired": (
        lambda value: isinstance(value, dict) and all(map(_texts, value.values())),
        "an object of lists of texts",
    ),
    "type": (
        lambda value: value in _TYPES if isinstance(value, str) else _texts(value) and _TYPES.issuperset(value),
        "a JSON type or a list of them",
    ),
}
