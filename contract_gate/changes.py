"""A change: its place, its rule, its severity, and the operations that it affects."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import Enum, StrEnum, auto


class Severity(StrEnum):
    """Severity of a change, worst first."""

    BREAKING = "breaking"
    RISKY = "risky"
    SAFE = "safe"

    @property
    def rank(self) -> int:
        """Sort key: 0 is the worst."""
        return list(Severity).index(self)


class Direction(StrEnum):
    """Whether the owner of a schema receives the values that it describes, or sends them."""

    INPUT = "input"
    OUTPUT = "output"

    @property
    def other(self) -> "Direction":
        """The opposite direction, which is that of a reply."""
        return Direction.OUTPUT if self is Direction.INPUT else Direction.INPUT


class Effect(Enum):
    """Effect of a change on the set of values that a schema allows."""

    NARROWER = auto()
    WIDER = auto()
    EITHER = auto()
    """Values were removed and others added, or this cannot be excluded."""
    UNCLEAR = auto()
    """Unknown: nothing validates by it."""


def severity(effect: Effect, direction: Direction) -> Severity:
    """Return the severity of an effect: received values must not become fewer, sent values must not become more."""
    if effect is Effect.UNCLEAR:
        return Severity.RISKY
    harmless = Effect.WIDER if direction is Direction.INPUT else Effect.NARROWER
    return Severity.SAFE if effect is harmless else Severity.BREAKING


@dataclass(frozen=True)
class Change:
    """One difference between two versions."""

    place: str
    """Where it is: a channel id or an HTTP operation, and a path below it."""
    code: str
    """The rule id of `contract_gate.rules`, for some rules followed by a space and the value in question."""
    severity: Severity
    message: str
    affects: tuple[str, ...] = ()
    """The operations of other services at the other end, or "HTTP clients"."""

    @property
    def rule(self) -> str:
        """The rule id alone."""
        return self.code.partition(" ")[0]

    @property
    def id(self) -> str:
        """Identifier for announcements: stable as long as the same two versions are compared."""
        return f"{self.place}: {self.code}"

    def below(self, place: str) -> "Change":
        """Return the same change with `place` put before its own."""
        return replace(self, place=place + self.place)


Compare = Callable[[str, object, object], list[Change]]
"""Compares two schemas at a place: the callback by which rules descend into inner schemas."""


def worst_first(changes: Iterable[Change]) -> list[Change]:
    """Return each change once, sorted by severity and id; of two with the same id the worse, affecting all of both."""
    unique: dict[str, Change] = {}
    for change in changes:
        known = unique.get(change.id, change)
        worse = min(known, change, key=lambda one: one.severity.rank)
        unique[change.id] = replace(worse, affects=tuple(sorted({*known.affects, *change.affects})))
    return sorted(unique.values(), key=lambda change: (change.severity.rank, change.id))
