"""Compare HTTP bodies by media type, and response headers by name."""

from collections.abc import Iterator
from typing import Any

from contract_gate import x_nats
from contract_gate.changes import Change, Direction, Severity
from contract_gate.references import followed
from contract_gate.schemas import compare_schemas

BREAKING, RISKY, SAFE = Severity.BREAKING, Severity.RISKY, Severity.SAFE
Object = dict[str, Any]
Roots = tuple[Object, Object]


def content(place: str, old: Object, new: Object, direction: Direction, roots: Roots) -> Iterator[Change]:
    """Compare the media types of a body, and the schema of each."""
    before, after = old.get("content", {}), new.get("content", {})
    for kind in before:
        if kind not in after:
            yield Change(place, f"media-type-removed {kind}", BREAKING, f"{kind} is removed")
            continue
        inside = place if len(before) == 1 else f"{place}({kind})"
        yield from _schema(inside, before[kind].get("schema", True), after[kind].get("schema", True), direction, roots)
        yield from x_nats.compare_rest(inside, before[kind], after[kind], {"schema", "example"})
    for kind in after:
        if kind not in before:
            # Existing clients name the media type that they use, so they notice nothing.
            yield Change(place, f"media-type-added {kind}", SAFE, f"{kind} is now possible")


def headers(place: str, old: Object, new: Object, roots: Roots) -> Iterator[Change]:
    """Compare the headers of a response; their names are case-insensitive."""
    before, after = ({name.lower(): (name, header) for name, header in side.items()} for side in (old, new))
    for key, (name, header) in before.items():
        inside = f"{place}/headers/{name}"
        if key not in after:
            yield Change(inside, "header-removed", BREAKING, "is no longer sent")
            continue
        one, other = followed(roots[0], header), followed(roots[1], after[key][1])
        if one.get("required") and not other.get("required"):
            yield Change(inside, "required-removed", BREAKING, "is now optional; it was always present")
        elif other.get("required") and not one.get("required"):
            yield Change(inside, "required-added", SAFE, "is now always present")
        yield from _schema(inside, one.get("schema", True), other.get("schema", True), Direction.OUTPUT, roots)
        yield from x_nats.compare_rest(inside, one, other, {"required", "schema"})
    for key, (name, _) in after.items():
        if key not in before:
            yield Change(f"{place}/headers/{name}", "header-added", SAFE, "is new")


def _schema(place: str, old: Any, new: Any, direction: Direction, roots: Roots) -> Iterator[Change]:
    changes = compare_schemas(old, new, direction, old_root=roots[0], new_root=roots[1])
    yield from (change.below(place) for change in changes)
