"""What people wanted and what they were told: the one side of every audit."""

from collections import Counter
from dataclasses import dataclass, field
from uuid import uuid4

from mkstore.chaos.http_client import Answer


@dataclass
class Attempt:
    """One payment that somebody wants; its `tag` stands in the payment's metadata."""

    payer: str
    key: str | None
    tag: str = field(default_factory=lambda: uuid4().hex)
    id: str | None = None
    """Of the payment, once it was accepted."""
    doubtful: bool = False
    """An attempt ended without an answer: it may be there without having been accepted."""


@dataclass
class Change:
    """One change of a user that somebody asked for: to be there, to have a name, or to be gone."""

    kind: str
    name: str | None = None
    version: int | None = None
    """The user's version since it, once it was answered."""
    doubtful: bool = False


@dataclass
class Person:
    """Somebody who signed up, or tried to."""

    email: str
    id: str | None = None
    token: str = ""
    changes: list[Change] = field(default_factory=list)


@dataclass
class Ledger:
    """Everything of one round."""

    wishes: list[Attempt] = field(default_factory=list)
    people: list[Person] = field(default_factory=list)
    answers: list[tuple[float, str, bool]] = field(default_factory=list)
    """When what was answered, on the monotonic clock, and whether with success."""
    refusals: Counter[str] = field(default_factory=Counter)
    surprises: list[str] = field(default_factory=list)
    """Answers that must never be."""
    accepted: int = 0
    slowest: float = 0.0

    def note(self, what: str, answer: Answer) -> None:
        """Remember that it was answered, and how."""
        good = 0 < answer.status < 400  # noqa: PLR2004 - an HTTP status
        self.answers.append((answer.began + answer.seconds, what, good))
        self.slowest = max(self.slowest, answer.seconds)
        if not good:
            self.refusals[f"{answer.status or 'no answer'} {answer.code}"] += 1
            if not answer.is_away or answer.code == "no problem+json":
                self.surprises.append(f"{what}: {answer}")
