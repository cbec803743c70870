"""The rules for strings, numbers and lists of values."""

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
"""The formats of JSON Schema itself: here as with most, what has another form is refused."""

Finding = tuple[str, Effect, str]
"""A code, what happened to the values, and a sentence."""


def scalars(old: Shape, new: Shape) -> Iterator[Finding]:
    """Compare two shapes of strings, numbers, booleans or null."""
    if old.values is not None or new.values is not None:
        yield from _values(old, new)
        return
    if old.whole != new.whole:
        sentence = "whole numbers only" if new.whole else "fractions too, and not only whole numbers"
        yield (
            ("type-narrowed integer", Effect.NARROWER, sentence)
            if new.whole
            else ("type-widened number", Effect.WIDER, sentence)
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
                yield f"{key}-changed", Effect.EITHER, _was(key, old.keywords.get(key), new.keywords.get(key))
    yield from _format(old.keywords, new.keywords)


def bounds(least: str, most: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Finding]:
    """Compare a length or a count, by the keywords of its bounds."""
    yield from _bound(least, (old.get(least, 0), False), (new.get(least, 0), False), lower=True)
    yield from _bound(most, (old.get(most, math.inf), False), (new.get(most, math.inf), False), lower=False)


def _values(old: Shape, new: Shape) -> Iterator[Finding]:
    for value in (old.values or {}).values():
        if not _fits(value, new):
            yield f"value-removed {shown(value)}", Effect.NARROWER, f"{shown(value)} is no value of it any more"
    for value in (new.values or {}).values():
        if not _fits(value, old):
            yield f"value-added {shown(value)}", Effect.WIDER, f"{shown(value)} is a new value of it"
    if old.values is None:
        yield "values-limited", Effect.NARROWER, f"only listed values: {shown(list((new.values or {}).values()))}"
    elif new.values is None:
        yield "values-unlimited", Effect.WIDER, f"no longer only {shown(list(old.values.values()))}"


def _fits(value: Any, shape: Shape) -> bool:
    """Tell whether a value of the shape's type is one of it."""
    if shape.values is not None:
        return canonical(value) in shape.values
    if isinstance(value, str):
        keys = shape.keywords
        length = keys.get("minLength", 0) <= len(value) <= keys.get("maxLength", math.inf)
        # Whether a value has a form is not looked at: it is said not to, which is the careful answer.
        return (
            length and "format" not in keys and all(_found(pattern, value) for pattern in _listed(keys.get("pattern")))
        )
    if isinstance(value, int | float) and not isinstance(value, bool):
        (low, above), (high, below) = _lowest(shape), _highest(shape)
        within = (value > low if above else value >= low) and (value < high if below else value <= high)
        divided = all(float(value / factor).is_integer() for factor in _listed(shape.keywords.get("multipleOf")))
        return within and divided and (not shape.whole or float(value).is_integer())
    return True


def _found(pattern: str, value: str) -> bool:
    try:
        return re.search(pattern, value) is not None
    except re.error:
        return False


Bound = tuple[float, bool]


def _lowest(shape: Shape) -> Bound:
    """Return the lowest number and whether it is itself out of bounds; of whole numbers the lowest that is in."""
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
    low, out = _lowest(Shape(shape.type, mirrored, shape.whole))
    return -low, out


def _bound(key: str, old: Bound, new: Bound, *, lower: bool) -> Iterator[Finding]:
    if old == new:
        return
    # A bound that is itself out lies further in than the same that is in.
    rises = new[0] > old[0] or (new[0] == old[0] and new[1] == lower)
    effect = Effect.NARROWER if rises == lower else Effect.WIDER
    yield f"{key}-{'raised' if rises else 'lowered'}", effect, _was(key, _told(old), _told(new))


def _told(bound: Bound) -> str:
    if math.isinf(bound[0]):
        return "none"
    return f"{shown(bound[0])}{' (itself out)' if bound[1] else ''}"


def _set(key: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Finding]:
    """Compare what holds all at once: one more is narrower."""
    before, after = set(_listed(old.get(key))), set(_listed(new.get(key)))
    if before == after:
        return
    sentence = _was(key, _joined(before), _joined(after))
    if before < after:
        yield f"{key}-added", Effect.NARROWER, sentence
    elif before > after:
        yield f"{key}-removed", Effect.WIDER, sentence
    elif key == "multipleOf" and all(any(float(b / a).is_integer() for b in after) for a in before):
        yield f"{key}-raised", Effect.NARROWER, sentence
    elif key == "multipleOf" and all(any(float(a / b).is_integer() for a in before) for b in after):
        yield f"{key}-lowered", Effect.WIDER, sentence
    else:
        yield f"{key}-changed", Effect.EITHER, sentence


def _format(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Finding]:
    known = set(_listed(old.get("format"))) | set(_listed(new.get("format"))) <= ENFORCED
    for code, effect, sentence in _set("format", old, new):
        yield code, effect if known else Effect.UNCLEAR, sentence


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _joined(values: set[Any]) -> str:
    return " and ".join(sorted(str(value) for value in values)) or "none"


def _was(what: str, old: Any, new: Any) -> str:
    return f"{what}: {old} before, {new} now"
