"""What a comparison finds: a change, how bad it is, and whom it hits."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import Enum, StrEnum, auto


class Severity(StrEnum):
    """How bad a change is, the worst first."""

    BREAKING = "breaking"
    RISKY = "risky"
    SAFE = "safe"

    @property
    def rank(self) -> int:
        """0 for the worst."""
        return list(Severity).index(self)


class Direction(StrEnum):
    """Whether the owner of a schema receives what it describes, or sends it."""

    INPUT = "input"
    OUTPUT = "output"

    @property
    def other(self) -> "Direction":
        """The way back: a reply goes where its request came from."""
        return Direction.OUTPUT if self is Direction.INPUT else Direction.INPUT


class Effect(Enum):
    """What a change does to the set of values that a schema allows."""

    NARROWER = auto()
    WIDER = auto()
    EITHER = auto()
    """Some values are gone and others are new, or nobody can tell that it is not so."""
    UNCLEAR = auto()


def severity(effect: Effect, direction: Direction) -> Severity:
    """Return how bad it is: what is received may not be narrowed, what is sent may not be widened."""
    if effect is Effect.UNCLEAR:
        return Severity.RISKY
    harmless = Effect.WIDER if direction is Direction.INPUT else Effect.NARROWER
    return Severity.SAFE if effect is harmless else Severity.BREAKING


@dataclass(frozen=True)
class Change:
    """One difference: where it is, what it is in one word, how bad it is, and the same as a sentence."""

    place: str
    code: str
    severity: Severity
    sentence: str
    hits: tuple[str, ...] = ()
    """The operations of other services that it meets, or "HTTP clients"."""

    @property
    def id(self) -> str:
        """What it is announced by; the same for as long as the two versions are compared."""
        return f"{self.place}: {self.code}"

    def below(self, place: str) -> "Change":
        """Return the same change seen from further up."""
        return replace(self, place=place + self.place)


Compare = Callable[[str, object, object], list[Change]]
"""Compares two schemas at a place; how the rules reach the schemas inside of theirs."""


def worst_first(changes: Iterable[Change]) -> list[Change]:
    """Return each change once, by severity and id; of two with one id the worse, with the hits of both."""
    found: dict[str, Change] = {}
    for change in changes:
        known = found.get(change.id, change)
        worse = min(known, change, key=lambda one: one.severity.rank)
        found[change.id] = replace(worse, hits=tuple(sorted({*known.hits, *change.hits})))
    return sorted(found.values(), key=lambda change: (change.severity.rank, change.id))
