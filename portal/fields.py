"""The fields of a JSON schema, each with its type, limits and description."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from kit.asyncapi.reader import DocumentReader, Json, last_part

_MAX_DEPTH = 6


class Field(NamedTuple):
    """One field; `path` is its dotted path from the top, `values` are its allowed values, `fields` its own fields."""

    name: str
    path: str
    type: str
    required: bool
    limits: tuple[str, ...]
    values: tuple[str, ...]
    description: str
    fields: tuple["Field", ...]


def fields(system: DocumentReader, schema: Json, path: str = "", seen: tuple[str, ...] = ()) -> tuple[Field, ...]:
    """Return the fields of an object schema, in order; empty for other schemas, and below a recursive reference."""
    resolved = system.schema(schema)
    required = resolved.get("required", ())
    return tuple(
        _field(system, name, node, f"{path}{name}", required=name in required, seen=seen)
        for name, node in resolved.get("properties", {}).items()
    )


def flat(nested: tuple[Field, ...]) -> Iterator[Field]:
    """Yield all fields, each before its own fields."""
    for field in nested:
        yield field
        yield from flat(field.fields)


def _field(system: DocumentReader, name: str, node: Json, path: str, *, required: bool, seen: tuple[str, ...]) -> Field:
    variants = [variant for variant in node.get("anyOf", (node,)) if variant.get("type") != "null"]
    nullable = len(variants) < len(node.get("anyOf", (node,)))
    limits: list[str] = []
    values: list[str] = []
    types: list[str] = []
    inner: tuple[Field, ...] = ()
    description = node.get("description", "")
    for variant in variants:
        item = variant.get("items", {})
        reference, resolved = (item or variant).get("$ref", ""), system.schema(variant)
        types.append(_type(system, variant))
        limits += _limits(resolved) + [f"each {limit}" for limit in _limits(system.schema(item))]
        values += [_json(value) for value in resolved.get("enum", system.schema(item).get("enum", ()))]
        description = description or resolved.get("description", "")
        if reference not in seen and len(seen) < _MAX_DEPTH:
            inner += fields(system, item or variant, f"{path}.", (*seen, reference))
    if node.get("default") is not None:
        limits.append(f"default {_json(node['default'])}")
    names = dict.fromkeys([*types, "null"] if nullable else types)
    return Field(name, path, " or ".join(names), required, tuple(limits), tuple(values), description, inner)


def _type(system: DocumentReader, node: Json) -> str:
    resolved = system.schema(node)
    if items := resolved.get("items"):
        return f"array of {_type(system, items)}"
    kind = resolved.get("format") or resolved.get("type") or ("constant" if "const" in resolved else "anything")
    return f"{last_part(node['$ref'])} ({kind})" if "$ref" in node else str(kind)


_WORDS = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "exclusiveMinimum": "greater than {}",
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
    limits = [words.format(_figure(node[key])) for key, words in _WORDS.items() if key in node]
    if "const" in node:
        limits.append(f"always {_json(node['const'])}")
    for key, values in [("keys", node.get("propertyNames")), ("values", node.get("additionalProperties"))]:
        if isinstance(values, Mapping):
            limits += [f"{key} {limit}" for limit in [*_types(values), *_limits(values)]]
    for pattern, values in node.get("patternProperties", {}).items():
        limits += [f"values of keys matching {pattern}: {limit}" for limit in [*_types(values), *_limits(values)]]
    return limits


def _types(node: Json) -> list[str]:
    return [str(node["type"])] if "type" in node else []


def _figure(value: Any) -> str:
    whole = isinstance(value, float) and value.is_integer()  # OpenAPI documents can contain 1.0 for 1
    return f"{int(value):,}" if whole or isinstance(value, int) else str(value)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
