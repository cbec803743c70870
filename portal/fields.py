"""A JSON schema as a reader wants it: its fields in a row, each with type, limits and meaning."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from portal.documents import Json
from portal.system import System, last

_DEEPEST = 6


class Field(NamedTuple):
    """One field; `path` leads to it from the top, `values` are all that it may be, `fields` what is inside it."""

    name: str
    path: str
    type: str
    required: bool
    limits: tuple[str, ...]
    values: tuple[str, ...]
    description: str
    fields: tuple["Field", ...]


def fields(system: System, schema: Json, path: str = "", seen: tuple[str, ...] = ()) -> tuple[Field, ...]:
    """Return the fields of an object, in order; none of anything else, and none below a schema that holds itself."""
    found = system.schema(schema)
    required = found.get("required", ())
    return tuple(
        _field(system, name, node, f"{path}{name}", required=name in required, seen=seen)
        for name, node in found.get("properties", {}).items()
    )


def flat(found: tuple[Field, ...]) -> Iterator[Field]:
    """Yield the fields and those inside them."""
    for field in found:
        yield field
        yield from flat(field.fields)


def _field(system: System, name: str, node: Json, path: str, *, required: bool, seen: tuple[str, ...]) -> Field:
    variants = [variant for variant in node.get("anyOf", (node,)) if variant.get("type") != "null"]
    nullable = len(variants) < len(node.get("anyOf", (node,)))
    limits: list[str] = []
    values: list[str] = []
    types: list[str] = []
    inside: tuple[Field, ...] = ()
    description = node.get("description", "")
    for variant in variants:
        item = variant.get("items", {})
        shape, plain = (item or variant).get("$ref", ""), system.schema(variant)
        types.append(_type(system, variant))
        limits += _limits(plain) + [f"each {limit}" for limit in _limits(system.schema(item))]
        values += [_json(value) for value in plain.get("enum", system.schema(item).get("enum", ()))]
        description = description or plain.get("description", "")
        if shape not in seen and len(seen) < _DEEPEST:
            inside += fields(system, item or variant, f"{path}.", (*seen, shape))
    if node.get("default") is not None:
        limits.append(f"default {_json(node['default'])}")
    names = dict.fromkeys([*types, "null"] if nullable else types)
    return Field(name, path, " or ".join(names), required, tuple(limits), tuple(values), description, inside)


def _type(system: System, node: Json) -> str:
    plain = system.schema(node)
    if items := plain.get("items"):
        return f"array of {_type(system, items)}"
    kind = plain.get("format") or plain.get("type") or ("constant" if "const" in plain else "anything")
    return f"{last(node['$ref'])} ({kind})" if "$ref" in node else str(kind)


_WORDS = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "exclusiveMinimum": "more than {}",
    "exclusiveMaximum": "less than {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "minProperties": "at least {} entries",
    "maxProperties": "at most {} entries",
    "pattern": "matches {}",
}


def _limits(node: Json) -> list[str]:
    found = [words.format(_figure(node[key])) for key, words in _WORDS.items() if key in node]
    if "const" in node:
        found.append(f"always {_json(node['const'])}")
    for key, values in [("keys", node.get("propertyNames")), ("values", node.get("additionalProperties"))]:
        if isinstance(values, Mapping):
            found += [f"{key} {limit}" for limit in [*_types(values), *_limits(values)]]
    for pattern, values in node.get("patternProperties", {}).items():
        found += [f"values of keys like {pattern}: {limit}" for limit in [*_types(values), *_limits(values)]]
    return found


def _types(node: Json) -> list[str]:
    return [str(node["type"])] if "type" in node else []


def _figure(value: Any) -> str:
    whole = isinstance(value, float) and value.is_integer()  # OpenAPI documents have 1.0 where 1 is meant
    return f"{int(value):,}" if whole or isinstance(value, int) else str(value)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
