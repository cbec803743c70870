"""The rules for objects and arrays."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from contract_gate.changes import Change, Compare, Direction, Effect, Severity, severity
from contract_gate.scalars import bounds

BREAKING, RISKY, SAFE = Severity.BREAKING, Severity.RISKY, Severity.SAFE
Keywords = Mapping[str, Any]


class Objects:
    """Compares objects that the owner of the schema receives or sends."""

    def __init__(self, old: Keywords, new: Keywords, direction: Direction, compare: Compare) -> None:
        self._old, self._new = old, new
        self._received = direction is Direction.INPUT
        self._direction = direction
        self._compare = compare

    def changes(self) -> Iterator[Change]:
        """Yield all changes."""
        old, new = self._old.get("properties", {}), self._new.get("properties", {})
        for name in old:
            yield from self._compare_property(name) if name in new else self._removed(name)
        for name in new:
            if name not in old:
                yield from self._added(name)
        yield from self._required_without_schema()
        yield from self._additional()
        yield from self._patterns()
        property_names = [
            {"allOf": [{"type": "string"}, side.get("propertyNames", True)]} for side in (self._old, self._new)
        ]
        yield from self._compare("/{name}", *property_names)
        yield from self._dependents()
        for code, effect, sentence in bounds("minProperties", "maxProperties", self._old, self._new):
            yield self._by(effect, "", code, sentence)

    def _by(self, effect: Effect, place: str, code: str, sentence: str) -> Change:
        return Change(place, code, severity(effect, self._direction), sentence)

    def _compare_property(self, name: str) -> Iterator[Change]:
        yield from self._required(name)
        yield from self._compare(f"/{name}", self._old["properties"][name], self._new["properties"][name])

    def _required(self, name: str) -> Iterator[Change]:
        before, after = (name in side.get("required", []) for side in (self._old, self._new))
        if after and not before:
            yield self._by(Effect.NARROWER, f"/{name}", "required-added", "is now required; it was optional")
        if before and not after:
            yield self._by(Effect.WIDER, f"/{name}", "required-removed", "is now optional; it was always present")

    def _required_without_schema(self) -> Iterator[Change]:
        named = {*self._old.get("properties", {}), *self._new.get("properties", {})}
        for name in sorted({*self._old.get("required", []), *self._new.get("required", [])} - named):
            yield from self._required(name)

    def _removed(self, name: str) -> Iterator[Change]:
        unnamed = _unnamed(self._new, name)
        if not self._received:
            yield Change(f"/{name}", "field-removed", BREAKING, "is no longer sent")
        elif unnamed is False:
            yield Change(f"/{name}", "field-removed", BREAKING, "is now rejected; it was accepted")
        else:
            yield Change(f"/{name}", "field-removed", RISKY, "is now ignored")
            if unnamed is not True:
                yield from self._compare(f"/{name}", self._old["properties"][name], unnamed)

    def _added(self, name: str) -> Iterator[Change]:
        unnamed = _unnamed(self._old, name)
        if self._received and name in self._new.get("required", []):
            yield Change(f"/{name}", "required-added", BREAKING, "is new and required")
        elif not self._received and unnamed is False:
            yield Change(f"/{name}", "field-added", RISKY, "is new, although unknown fields were excluded")
        else:
            yield Change(f"/{name}", "field-added", SAFE, "is new and optional" if self._received else "is new")
        if isinstance(unnamed, dict) and unnamed:
            yield from self._compare(f"/{name}", unnamed, self._new["properties"][name])

    def _additional(self) -> Iterator[Change]:
        """Compare the schemas of fields that have no name in `properties`."""
        old, new = (side.get("additionalProperties", True) for side in (self._old, self._new))
        before, after = _openness(old), _openness(new)
        if "map" == before == after:
            yield from self._compare("/*", old, new)
        elif before != after:
            narrower = ("closed", "map", "open").index(after) < ("closed", "map", "open").index(before)
            texts = {
                "closed": "no additional fields",
                "map": "additional fields of one schema",
                "open": "any additional fields",
            }
            sentence = f"{texts[before]} before, {texts[after]} now"
            if narrower:
                # A consumer that reads the entries of a map finds none after it is removed.
                level = BREAKING if self._received else RISKY if before == "map" else SAFE
                yield Change("/*", f"other-fields-{after}", level, sentence)
            else:
                level = SAFE if self._received else BREAKING if before == "map" else RISKY
                yield Change("/*", f"other-fields-{after}", level, sentence)

    def _patterns(self) -> Iterator[Change]:
        old, new = (side.get("patternProperties", {}) for side in (self._old, self._new))
        for pattern in sorted({*old, *new}):
            place = f"/{{{pattern}}}"
            if pattern in old and pattern in new:
                yield from self._compare(place, old[pattern], new[pattern])
                continue
            other_side = self._new if pattern in old else self._old
            closed = _openness(other_side.get("additionalProperties", True)) == "closed"
            added = pattern in new
            effect = Effect.WIDER if added == closed else Effect.NARROWER
            code = "pattern-field-added" if added else "pattern-field-removed"
            yield self._by(
                effect,
                place,
                code,
                "fields that match this pattern are " + ("now" if added else "no longer") + " described",
            )

    def _dependents(self) -> Iterator[Change]:
        before, after = (
            {(when, then) for when, needs in side.get("dependentRequired", {}).items() for then in needs}
            for side in (self._old, self._new)
        )
        for when, then in sorted(after - before):
            yield self._by(
                Effect.NARROWER, f"/{then}", f"required-with {when}", f"is now required where {when} is present"
            )
        for when, then in sorted(before - after):
            yield self._by(
                Effect.WIDER, f"/{then}", f"not-required-with {when}", f"is no longer required where {when} is present"
            )


def _openness(others: Any) -> str:
    if others is False:
        return "closed"
    return "open" if others is True or others == {} else "map"


def _unnamed(side: Keywords, name: str) -> Any:
    """Return the schema that applies to a field without one in `properties`."""
    for pattern, schema in side.get("patternProperties", {}).items():
        if _matches(pattern, name):
            return schema
    return side.get("additionalProperties", True)


def _matches(pattern: str, name: str) -> bool:
    try:
        return re.search(pattern, name) is not None
    except re.error:
        return False


def arrays(old: Keywords, new: Keywords, direction: Direction, compare: Compare) -> Iterator[Change]:
    """Compare arrays: the items with a position of their schema, then all others."""
    length = max(len(_positional(old)), len(_positional(new)))
    for index in range(length):
        yield from compare(f"/{index}", _at(old, index), _at(new, index))
    yield from compare("/[]", _at(old, length), _at(new, length))
    for code, effect, sentence in bounds("minItems", "maxItems", old, new):
        yield Change("", code, severity(effect, direction), sentence)
    before, after = bool(old.get("uniqueItems")), bool(new.get("uniqueItems"))
    if before != after:
        effect = Effect.NARROWER if after else Effect.WIDER
        code, sentence = (
            ("unique-added", "items must now be unique") if after else ("unique-removed", "items may now repeat")
        )
        yield Change("", code, severity(effect, direction), sentence)


def _positional(side: Keywords) -> list[Any]:
    items = side.get("items")
    return items if isinstance(items, list) else list(side.get("prefixItems", []))


def _at(side: Keywords, index: int) -> Any:
    positional = _positional(side)
    if index < len(positional):
        return positional[index]
    items = side.get("items", True)
    return side.get("additionalItems", True) if isinstance(items, list) else items
