"""Merge two sets of JSON Schema keywords that both apply into one."""

from collections.abc import Callable
from typing import Any

from contract_gate.references import canonical, differ

Keywords = dict[str, Any]


def merged(first: Keywords, second: Keywords) -> Keywords:
    """Return keywords that allow exactly the values that both allow; wording and default are those of the first."""
    found = dict(first)
    for key, value in second.items():
        if key not in first:
            found[key] = value
        elif key not in _FIRST and differ(first[key], value):
            found[key] = _BOTH.get(key, _all)(first[key], value)
    return found


def flat(*parts: Any) -> list[Any]:
    """Return the parts, and those inside of an `allOf`, each once.

    Without that, merging a recursive schema would not end.
    """
    found: dict[str, Any] = {}
    for part in parts:
        inner = flat(*part["allOf"]) if isinstance(part, dict) and set(part) == {"allOf"} else [part]
        found |= {canonical(one): one for one in inner}
    return list(found.values())


def _all(first: Any, second: Any) -> Any:
    parts = flat(first, second)
    return parts[0] if len(parts) == 1 else {"allOf": parts}


def _listed(first: Any, second: Any) -> list[Any]:
    """Keep both, as a list: both must hold."""
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


def _schemas(first: Keywords, second: Keywords) -> Keywords:
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
    "properties": _schemas,
    "patternProperties": _schemas,
    "required": _union,
    "dependentRequired": _dependents,
    "prefixItems": _positions,
}
