"""Compare two JSON Schemas, for the senders or the receivers of their values."""

from collections.abc import Iterator
from typing import Any

from contract_gate.changes import Change, Direction, Effect, Severity, severity
from contract_gate.containers import Objects, arrays
from contract_gate.normal_forms import KNOWN, TYPES, WORDING, Shape, shapes
from contract_gate.references import canonical, differ, references, resolve, shown
from contract_gate.scalars import scalars

_MAX_DEPTH = 60
_DEFINITIONS = ("$defs", "definitions")


def compare_schemas(old: Any, new: Any, direction: Direction, *, old_root: Any, new_root: Any) -> list[Change]:
    """Return the changes from `old` to `new`, at places below the schema ("/user/name", "/ids/[]", "/labels/*").

    References resolve in `old_root` and `new_root`. A recursive schema is compared once. Raises `UnreadableError` if a
    reference cannot be resolved or a keyword has a value of the wrong type.
    """
    return _Comparison(direction, old_root, new_root).compare("", old, new)


class _Comparison:
    def __init__(self, direction: Direction, old_root: Any, new_root: Any) -> None:
        self._direction = direction
        self._old_root, self._new_root = old_root, new_root
        self._known: dict[tuple[str, str], list[Change]] = {}
        self._same: dict[str, bool] = {}
        self._depth = 0

    def compare(self, place: str, old: Any, new: Any) -> list[Change]:
        old, new = _without_definitions(old), _without_definitions(new)
        if self._alike(old, new):
            return []
        key = canonical(old), canonical(new)
        if key not in self._known:
            if self._depth > _MAX_DEPTH:
                return [Change(place, "too-deep", Severity.RISKY, "is nested too deeply to be compared")]
            self._known[key] = []  # a recursive reference adds nothing
            self._depth += 1
            self._known[key] = self._all(shapes(old, self._old_root), shapes(new, self._new_root))
            self._depth -= 1
        return [change.below(place) for change in self._known[key]]

    def _alike(self, old: Any, new: Any) -> bool:
        """Return whether both are literally the same, including all that they refer to."""
        return not differ(old, new) and all(map(self._alike_behind, references(old)))

    def _alike_behind(self, reference: str) -> bool:
        if reference not in self._same:
            self._same[reference] = True
            old, new = resolve(self._old_root, reference), resolve(self._new_root, reference)
            self._same[reference] = self._alike(old, new)
        return self._same[reference]

    def _all(self, olds: list[Shape], news: list[Shape]) -> list[Change]:
        changes: dict[str, Change] = {}
        lost, gained = [], []
        for kind in TYPES:
            before, after = [s for s in olds if s.type == kind], [s for s in news if s.type == kind]
            if before and after:
                for change in self._of_one_type(before, after):
                    changes.setdefault(change.id, change)
            elif before:
                lost.append("integer" if before[0].whole else kind)
            elif after:
                gained.append("integer" if after[0].whole else kind)
        if lost:
            code = f"type-removed {', '.join(lost)}"
            changes[code] = self._by(Effect.NARROWER, code, f"is no longer {' or '.join(lost)}")
        if gained:
            code = f"type-added {', '.join(gained)}"
            changes[code] = self._by(Effect.WIDER, code, f"may now also be {' or '.join(gained)}")
        return list(changes.values())

    def _by(self, effect: Effect, code: str, text: str) -> Change:
        return Change("", code, severity(effect, self._direction), text)

    def _of_one_type(self, olds: list[Shape], news: list[Shape]) -> Iterator[Change]:
        """Match each variant that must not be lost with the most similar one of the other side."""
        if len(olds) == len(news) == 1:
            yield from self._pair(olds[0], news[0])
            return
        received = self._direction is Direction.INPUT
        guarded, candidates = (olds, news) if received else (news, olds)
        matched = set()
        for number, variant in enumerate(guarded):
            compared = [self._pair(variant, one) if received else self._pair(one, variant) for one in candidates]
            best = min(range(len(candidates)), key=lambda index: _weight(compared[index]))
            if _weight(compared[best])[0] and variant.name != candidates[best].name:
                name = variant.name or f"{variant.type} {number + 1}"
                effect, code = (Effect.NARROWER, "removed") if received else (Effect.WIDER, "added")
                yield self._by(
                    effect, f"variant-{code} {name}", f"the variant {name} is {'removed' if received else 'new'}"
                )
                continue
            matched.add(best)
            yield from (change.below(f"({variant.name or number + 1})") for change in compared[best])
        for index, variant in enumerate(candidates):
            if index not in matched:
                name = variant.name or f"{variant.type} {index + 1}"
                effect, code = (Effect.WIDER, "added") if received else (Effect.NARROWER, "removed")
                yield self._by(
                    effect, f"variant-{code} {name}", f"the variant {name} is {'new' if received else 'removed'}"
                )

    def _pair(self, old: Shape, new: Shape) -> list[Change]:
        changes = list(self._wording(old, new))
        if old.type in {"array", "object"} and old.values is None and new.values is None:
            if old.type == "array":
                changes += arrays(old.keywords, new.keywords, self._direction, self.compare)
            else:
                changes += Objects(old.keywords, new.keywords, self._direction, self.compare).changes()
        else:
            changes += [self._by(effect, code, text) for code, effect, text in scalars(old, new)]
        return changes

    def _wording(self, old: Shape, new: Shape) -> Iterator[Change]:
        """Compare annotations and unknown keywords; an unknown keyword is never safe."""
        before, after = old.keywords, new.keywords
        if any(differ(before.get(key), after.get(key)) for key in WORDING):
            yield Change("", "wording-changed", Severity.SAFE, "is described differently")
        if before.get("deprecated", False) != after.get("deprecated", False):
            yield Change(
                "",
                "deprecation-changed",
                Severity.SAFE,
                "is deprecated" if after.get("deprecated") else "is no longer deprecated",
            )
        if "default" in after and "default" not in before:
            yield Change("", "default-added", Severity.SAFE, f"now has the default {shown(after['default'])}")
        elif "default" in before and ("default" not in after or differ(before["default"], after["default"])):
            now = shown(after["default"]) if "default" in after else "removed"
            yield Change(
                "", "default-changed", Severity.RISKY, f"the default was {shown(before['default'])}, is now {now}"
            )
        for key in sorted({*before, *after} - KNOWN | {"readOnly", "writeOnly"}):
            if differ(before.get(key), after.get(key)):
                yield Change("", f"{key}-changed", Severity.RISKY, f"{key} changed, a keyword without a rule")


def _without_definitions(schema: Any) -> Any:
    """Leave out definitions: with them, a recursive schema would not be recognized inside itself."""
    if isinstance(schema, dict) and not schema.keys().isdisjoint(_DEFINITIONS):
        return {key: value for key, value in schema.items() if key not in _DEFINITIONS}
    return schema


def _weight(changes: list[Change]) -> tuple[int, int, int]:
    levels = [change.severity for change in changes]
    return levels.count(Severity.BREAKING), levels.count(Severity.RISKY), len(levels)
