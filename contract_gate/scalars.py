"""Rules for strings, numbers and enumerated values."""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from contract_gate.changes import Effect
from contract_gate.normal_forms import Shape
from contract_gate.references import canonical, shown

ENFORCED = frozenset(
    {
        *("date-time", "date", "time", "duration", "email", "idn-email", "hostname", "idn-hostname", "ipv4", "ipv6"),
        *("uri", "uri-reference", "iri", "iri-reference", "uuid", "json-pointer", "regex"),
    }
)
"""The formats that JSON Schema defines, which validators such as pydantic enforce."""

Finding = tuple[str, Effect, str]
"""A code, the effect on the allowed values, and a message."""


def scalars(old: Shape, new: Shape) -> Iterator[Finding]:
    """Compare two shapes of strings, numbers, booleans or null."""
    if old.values is not None or new.values is not None:
        yield from _values(old, new)
        return
    if old.whole != new.whole:
        text = "only integers are now allowed" if new.whole else "fractions are now allowed"
        yield (
            ("type-narrowed integer", Effect.NARROWER, text)
            if new.whole
            else ("type-widened number", Effect.WIDER, text)
        )
    if old.type == "number":
        yield from _bound("minimum", _lowest(old), _lowest(new), lower=True)
        yield from _bound("maximum", _highest(old), _highest(new), lower=False)
        yield from _set("multipleOf", old.keywords, new.keywords)
    else:
        yield from bounds("minLength", "maxLength", old.keywords, new.keywords)
        yield from _set("pattern", old.keywords, new.keywords)
        for key in ("contentEncoding", "contentMediaType"):
            if old.keywords.get(key) != new.keywords.get(key):
                yield f"{key}-changed", Effect.EITHER, _changed(key, old.keywords.get(key), new.keywords.get(key))
    yield from _format(old.keywords, new.keywords)


def bounds(lower: str, upper: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Finding]:
    """Compare the lower and the upper bound of a length or a count."""
    yield from _bound(lower, (old.get(lower, 0), False), (new.get(lower, 0), False), lower=True)
    yield from _bound(upper, (old.get(upper, math.inf), False), (new.get(upper, math.inf), False), lower=False)


def _values(old: Shape, new: Shape) -> Iterator[Finding]:
    for value in (old.values or {}).values():
        if not _fits(value, new):
            yield f"value-removed {shown(value)}", Effect.NARROWER, f"{shown(value)} is no longer allowed"
    for value in (new.values or {}).values():
        if not _fits(value, old):
            yield f"value-added {shown(value)}", Effect.WIDER, f"{shown(value)} is a new value"
    if old.values is None:
        yield (
            "values-limited",
            Effect.NARROWER,
            f"only these values are now allowed: {shown(list((new.values or {}).values()))}",
        )
    elif new.values is None:
        yield "values-unlimited", Effect.WIDER, f"other values than {shown(list(old.values.values()))} are now allowed"


def _fits(value: Any, shape: Shape) -> bool:
    """Return whether a value of the shape's type fits the shape."""
    if shape.values is not None:
        return canonical(value) in shape.values
    if isinstance(value, str):
        keys = shape.keywords
        length = keys.get("minLength", 0) <= len(value) <= keys.get("maxLength", math.inf)
        # Formats are not validated here: assume that the value does not fit, which errs on the safe side.
        return (
            length
            and "format" not in keys
            and all(_matches(pattern, value) for pattern in _listed(keys.get("pattern")))
        )
    if isinstance(value, int | float) and not isinstance(value, bool):
        (low, above), (high, below) = _lowest(shape), _highest(shape)
        in_range = (value > low if above else value >= low) and (value < high if below else value <= high)
        divided = all(float(value / factor).is_integer() for factor in _listed(shape.keywords.get("multipleOf")))
        return in_range and divided and (not shape.whole or float(value).is_integer())
    return True


def _matches(pattern: str, value: str) -> bool:
    try:
        return re.search(pattern, value) is not None
    except re.error:
        return False


Bound = tuple[float, bool]


def _lowest(shape: Shape) -> Bound:
    """Return the lower bound and whether it is exclusive; for integers always the inclusive one."""
    plain, exclusive = shape.keywords.get("minimum", -math.inf), shape.keywords.get("exclusiveMinimum", -math.inf)
    if shape.whole:
        return max(
            math.ceil(plain) if plain > -math.inf else plain,
            math.floor(exclusive) + 1 if exclusive > -math.inf else exclusive,
        ), False
    return (exclusive, True) if exclusive > -math.inf and exclusive >= plain else (plain, False)


def _highest(shape: Shape) -> Bound:
    mirrored = {
        key: -shape.keywords[name]
        for key, name in (("minimum", "maximum"), ("exclusiveMinimum", "exclusiveMaximum"))
        if name in shape.keywords
    }
    low, exclusive = _lowest(Shape(shape.type, mirrored, shape.whole))
    return -low, exclusive


def _bound(key: str, old: Bound, new: Bound, *, lower: bool) -> Iterator[Finding]:
    if old == new:
        return
    # An exclusive bound is tighter than the inclusive bound of the same value.
    rises = new[0] > old[0] or (new[0] == old[0] and new[1] == lower)
    effect = Effect.NARROWER if rises == lower else Effect.WIDER
    yield f"{key}-{'raised' if rises else 'lowered'}", effect, _changed(key, _shown_bound(old), _shown_bound(new))


def _shown_bound(bound: Bound) -> str:
    if math.isinf(bound[0]):
        return "none"
    return f"{shown(bound[0])}{' (exclusive)' if bound[1] else ''}"


def _set(key: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Finding]:
    """Compare constraints that all apply: one more is narrower."""
    before, after = set(_listed(old.get(key))), set(_listed(new.get(key)))
    if before == after:
        return
    text = _changed(key, _joined(before), _joined(after))
    if before < after:
        yield f"{key}-added", Effect.NARROWER, text
    elif before > after:
        yield f"{key}-removed", Effect.WIDER, text
    elif key == "multipleOf" and all(any(float(b / a).is_integer() for b in after) for a in before):
        yield f"{key}-raised", Effect.NARROWER, text
    elif key == "multipleOf" and all(any(float(a / b).is_integer() for a in before) for b in after):
        yield f"{key}-lowered", Effect.WIDER, text
    else:
        yield f"{key}-changed", Effect.EITHER, text


def _format(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Finding]:
    known = set(_listed(old.get("format"))) | set(_listed(new.get("format"))) <= ENFORCED
    for code, effect, text in _set("format", old, new):
        yield code, effect if known else Effect.UNCLEAR, text


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _joined(values: set[Any]) -> str:
    return " and ".join(sorted(str(value) for value in values)) or "none"


def _changed(what: str, old: Any, new: Any) -> str:
    return f"{what} was {old}, is now {new}"
