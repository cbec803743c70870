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
        """Find them all."""
        old, new = self._old.get("properties", {}), self._new.get("properties", {})
        for name in old:
            yield from self._kept(name) if name in new else self._gone(name)
        for name in new:
            if name not in old:
                yield from self._come(name)
        yield from self._required_alone()
        yield from self._others()
        yield from self._patterns()
        names = [{"allOf": [{"type": "string"}, side.get("propertyNames", True)]} for side in (self._old, self._new)]
        yield from self._compare("/{name}", *names)
        yield from self._dependents()
        for code, effect, sentence in bounds("minProperties", "maxProperties", self._old, self._new):
            yield self._by(effect, "", code, sentence)

    def _by(self, effect: Effect, place: str, code: str, sentence: str) -> Change:
        return Change(place, code, severity(effect, self._direction), sentence)

    def _kept(self, name: str) -> Iterator[Change]:
        yield from self._required(name)
        yield from self._compare(f"/{name}", self._old["properties"][name], self._new["properties"][name])

    def _required(self, name: str) -> Iterator[Change]:
        before, after = (name in side.get("required", []) for side in (self._old, self._new))
        if after and not before:
            yield self._by(
                Effect.NARROWER, f"/{name}", "required-added", "must be there from now on, could be left out before"
            )
        if before and not after:
            yield self._by(
                Effect.WIDER, f"/{name}", "required-removed", "may be missing from now on, was always there before"
            )

    def _required_alone(self) -> Iterator[Change]:
        named = {*self._old.get("properties", {}), *self._new.get("properties", {})}
        for name in sorted({*self._old.get("required", []), *self._new.get("required", [])} - named):
            yield from self._required(name)

    def _gone(self, name: str) -> Iterator[Change]:
        other = _other(self._new, name)
        if not self._received:
            yield Change(f"/{name}", "field-removed", BREAKING, "is not sent any more")
        elif other is False:
            yield Change(f"/{name}", "field-removed", BREAKING, "is refused from now on, was taken before")
        else:
            yield Change(f"/{name}", "field-removed", RISKY, "is not looked at any more")
            if other is not True:
                yield from self._compare(f"/{name}", self._old["properties"][name], other)

    def _come(self, name: str) -> Iterator[Change]:
        other = _other(self._old, name)
        if self._received and name in self._new.get("required", []):
            yield Change(f"/{name}", "required-added", BREAKING, "is new, and must be there from now on")
        elif not self._received and other is False:
            yield Change(f"/{name}", "field-added", RISKY, "is new, where it was said that no other field comes")
        else:
            yield Change(f"/{name}", "field-added", SAFE, "is new, and may be left out" if self._received else "is new")
        if isinstance(other, dict) and other:
            yield from self._compare(f"/{name}", other, self._new["properties"][name])

    def _others(self) -> Iterator[Change]:
        """Compare what is said of fields that have no name."""
        old, new = (side.get("additionalProperties", True) for side in (self._old, self._new))
        before, after = _openness(old), _openness(new)
        if "map" == before == after:
            yield from self._compare("/*", old, new)
        elif before != after:
            narrower = ("closed", "map", "open").index(after) < ("closed", "map", "open").index(before)
            how = {
                "closed": "no other fields",
                "map": "other fields of one kind alone",
                "open": "any other fields",
            }
            sentence = f"{how[before]} before, {how[after]} now"
            if narrower:
                # A reader of a map finds nothing where it is gone.
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
            there = self._new if pattern in old else self._old
            closed = _openness(there.get("additionalProperties", True)) == "closed"
            added = pattern in new
            effect = Effect.WIDER if added == closed else Effect.NARROWER
            code = "pattern-field-added" if added else "pattern-field-removed"
            yield self._by(
                effect, place, code, "fields with such names are now " + ("described" if added else "not described")
            )

    def _dependents(self) -> Iterator[Change]:
        before, after = (
            {(when, then) for when, needs in side.get("dependentRequired", {}).items() for then in needs}
            for side in (self._old, self._new)
        )
        for when, then in sorted(after - before):
            yield self._by(
                Effect.NARROWER, f"/{then}", f"required-with {when}", f"must be there where {when} is, from now on"
            )
        for when, then in sorted(before - after):
            yield self._by(Effect.WIDER, f"/{then}", f"not-required-with {when}", f"may be missing where {when} is")


def _openness(others: Any) -> str:
    if others is False:
        return "closed"
    return "open" if others is True or others == {} else "map"


def _other(side: Keywords, name: str) -> Any:
    """Return what a side says of a field that it does not name."""
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
    """Compare arrays, place by place and what follows those."""
    length = max(len(_places(old)), len(_places(new)))
    for index in range(length):
        yield from compare(f"/{index}", _at(old, index), _at(new, index))
    yield from compare("/[]", _at(old, length), _at(new, length))
    for code, effect, sentence in bounds("minItems", "maxItems", old, new):
        yield Change("", code, severity(effect, direction), sentence)
    before, after = bool(old.get("uniqueItems")), bool(new.get("uniqueItems"))
    if before != after:
        effect = Effect.NARROWER if after else Effect.WIDER
        code, sentence = (
            ("unique-added", "no item twice any more") if after else ("unique-removed", "items may come twice")
        )
        yield Change("", code, severity(effect, direction), sentence)


def _places(side: Keywords) -> list[Any]:
    items = side.get("items")
    return items if isinstance(items, list) else list(side.get("prefixItems", []))


def _at(side: Keywords, index: int) -> Any:
    places = _places(side)
    if index < len(places):
        return places[index]
    items = side.get("items", True)
    return side.get("additionalItems", True) if isinstance(items, list) else items
