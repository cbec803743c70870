"""Refusals on the wire: a kind, which the gateway maps to an HTTP status, and a slug, which clients switch on."""

from collections.abc import Iterable
from enum import StrEnum

from contracts.base import Message, example


class ErrorKind(StrEnum):
    """Why a request is refused; over HTTP each kind has one status."""

    MALFORMED = "malformed"
    TOO_LARGE = "too-large"
    INVALID = "invalid"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not-found"
    CONFLICT = "conflict"
    STALE = "stale"
    RATE_LIMITED = "rate-limited"
    UNAVAILABLE = "unavailable"
    OUTCOME_UNKNOWN = "outcome-unknown"
    INTERNAL = "internal"


class FieldError(Message):
    """One invalid field: its JSON Pointer (RFC 6901), a code for programs, a message for people."""

    model_config = example(pointer="/amount", code="greater_than", message="Input should be greater than 0")

    pointer: str
    code: str
    message: str


class Problem(Message):
    """A refusal; `slug` is stable, `detail` is prose for people and may change."""

    model_config = example(
        kind="conflict", slug="email-taken", detail="ada@example.com belongs to another user.", errors=[]
    )

    kind: ErrorKind
    slug: str
    detail: str
    errors: tuple[FieldError, ...] = ()


def json_pointer(path: Iterable[int | str]) -> str:
    """Return a path into a JSON document as a JSON Pointer (RFC 6901)."""
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in path)
