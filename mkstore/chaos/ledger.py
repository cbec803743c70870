"""What the simulated users requested, and the responses: one side of every audit."""

from collections import Counter
from dataclasses import dataclass, field
from uuid import uuid4

from mkstore.chaos.http_client import Answer

PASSWORD = "a long enough sentence"  # noqa: S105 - of simulated users


@dataclass
class Attempt:
    """One intended payment; its `tag` is stored in the payment's metadata."""

    payer: str
    key: str | None
    tag: str = field(default_factory=lambda: uuid4().hex)
    id: str | None = None
    """Payment id, once it was accepted."""
    uncertain: bool = False
    """A request ended without a response: the payment may exist without having been accepted."""


@dataclass
class Change:
    """One requested change of a user: created, updated (a new name), or deleted."""

    kind: str
    name: str | None = None
    version: int | None = None
    """The user's version after the change; None unless it succeeded, -1 if the response has none."""
    uncertain: bool = False


@dataclass
class User:
    """A simulated user, with an `id` once the sign-up succeeded."""

    email: str
    id: str | None = None
    token: str = ""
    changes: list[Change] = field(default_factory=list)


@dataclass
class Ledger:
    """Every request of one round, with its response."""

    attempts: list[Attempt] = field(default_factory=list)
    users: list[User] = field(default_factory=list)
    answers: list[tuple[float, str, bool]] = field(default_factory=list)
    """Time on the monotonic clock, operation, and whether it succeeded."""
    refusals: Counter[str] = field(default_factory=Counter)
    unexpected: list[str] = field(default_factory=list)
    """Responses that no fault justifies."""
    accepted_after_end: list[str] = field(default_factory=list)
    """Tokens that were accepted more than two seconds after the answer that ended their session."""
    accepted: int = 0
    slowest: float = 0.0

    def record(self, operation: str, answer: Answer) -> None:
        """Record the response to an operation."""
        good = 0 < answer.status < 400  # noqa: PLR2004 - an HTTP status
        self.answers.append((answer.began + answer.seconds, operation, good))
        self.slowest = max(self.slowest, answer.seconds)
        if not good:
            self.refusals[f"{answer.status or 'no response'} {answer.code}"] += 1
            if not answer.is_unavailable or answer.code == "no problem+json":
                self.unexpected.append(f"{operation}: {answer}")
