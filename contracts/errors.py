"""How a service says no: a kind that the edge maps to a status, a slug that clients switch on."""

from enum import StrEnum

from contracts.base import Message, example


class ErrorKind(StrEnum):
    """The closed list of reasons; the gateway's one table gives each its HTTP status."""

    INVALID = "invalid"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not-found"
    CONFLICT = "conflict"
    STALE = "stale"
    UNAVAILABLE = "unavailable"
    OUTCOME_UNKNOWN = "outcome-unknown"
    INTERNAL = "internal"


class FieldError(Message):
    """One field that is wrong: where (JSON Pointer, RFC 6901), a code to switch on, a sentence to read."""

    model_config = example(pointer="/amount", code="greater_than", message="Input should be greater than 0")

    pointer: str
    code: str
    message: str


class Problem(Message):
    """A refusal as it travels; `detail` is prose and may change any day."""

    model_config = example(
        kind="conflict", slug="email-taken", detail="ada@example.com belongs to another user.", errors=[]
    )

    kind: ErrorKind
    slug: str
    detail: str
    errors: tuple[FieldError, ...] = ()
