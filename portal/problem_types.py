"""The types of problems: what each means, and what a client does about it (RFC 9457, section 3.1.1)."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from contracts.errors import ErrorKind
from kit.asyncapi.reader import Json


def title_of(slug: str) -> str:
    """Return the title of the problems with this slug."""
    return slug.replace("-", " ").capitalize()


class ProblemType(NamedTuple):
    """One type of problem; `status` is the usual one over HTTP."""

    slug: str
    kind: ErrorKind
    status: int
    meaning: str
    own_advice: "Advice | None" = None
    """Advice for this type; without it, that of its kind is shown."""

    @property
    def title(self) -> str:
        """The title that each problem of this type has."""
        return title_of(self.slug)

    @property
    def advice(self) -> "Advice":
        """What to do about it."""
        return self.own_advice or _ADVICE[self.kind]

    def to_json(self) -> str:
        """Return it for programs."""
        step, retry, cause = self.advice
        own = {"type": f"/problems/{self.slug}", "title": self.title, "code": self.slug, "kind": self.kind.value}
        return json.dumps(
            own | {"status": self.status, "meaning": self.meaning, "cause": cause, "whatToDo": step, "retry": retry}
        )


class Advice(NamedTuple):
    """What a client does: the first step, and whether it repeats the request. `cause` is the usual one, if known."""

    step: str
    retry: str
    cause: str = ""


_NO = "No: the same request gets the same answer."
_CORRECT = "Correct the request; `detail` says what is wrong, and `errors` names each field."
_ADVICE: Mapping[ErrorKind, Advice] = {
    ErrorKind.MALFORMED: Advice("Send HTTP and JSON as their standards define them; `detail` says what is not.", _NO),
    ErrorKind.TOO_LARGE: Advice("Send less: the limits stand in the documentation of the HTTP API.", _NO),
    ErrorKind.INVALID: Advice(_CORRECT, _NO),
    ErrorKind.UNAUTHENTICATED: Advice(
        "Sign in; an access token that is refused may be renewed with `POST /auth/sessions/refresh` first.",
        "Yes, with the new token.",
    ),
    ErrorKind.FORBIDDEN: Advice("Ask somebody who may do this; an admin may act on other users.", _NO),
    ErrorKind.NOT_FOUND: Advice("Check the address: what does not exist, and what is another user's, look alike.", _NO),
    ErrorKind.CONFLICT: Advice("Read the present state, and decide whether the request still makes sense.", _NO),
    ErrorKind.STALE: Advice(
        "Read the resource again, and apply the change to its present version.", "With its new ETag."
    ),
    ErrorKind.RATE_LIMITED: Advice(
        "Send fewer requests.", "Yes, after the seconds in `Retry-After`; an earlier request is refused too."
    ),
    ErrorKind.UNAVAILABLE: Advice(
        "Nothing was done. Wait a moment.", "Yes, after the seconds in `Retry-After`, with growing delays."
    ),
    ErrorKind.OUTCOME_UNKNOWN: Advice(
        "A read did nothing. A change may have been made: look before you repeat it.",
        "A read at once. A payment or a new user with the same `Idempotency-Key`: it is made at most once.",
    ),
    ErrorKind.INTERNAL: Advice(
        "It is a defect of the store: tell its operator the `requestId`, which stands in the logs.",
        "Once, later; a payment with the same `Idempotency-Key`.",
    ),
}


def problem_types(
    documents: Iterable[Json],
    own: Sequence[ProblemType],
    statuses: Mapping[ErrorKind, int],
    advice: Mapping[str, Advice],
) -> dict[str, ProblemType]:
    """Return every type by its slug: the host's `own`, and those of the services' documents, with these `statuses`.

    `advice` is by slug.
    """
    found = {each.slug: each for each in own}
    for document in documents:
        for message in document.get("components", {}).get("messages", {}).values():
            for problem in message.get("x-problems", ()):
                kind = ErrorKind(problem["kind"])
                one = ProblemType(problem["slug"], kind, statuses[kind], problem["description"])
                found.setdefault(one.slug, one)
    return {slug: each._replace(own_advice=advice.get(slug)) for slug, each in sorted(found.items())}
