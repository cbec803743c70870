"""Everything that the gateway itself refuses: each refusal names its kind and slug once."""

from collections.abc import Mapping

from contracts.errors import ErrorKind, FieldError
from kit.errors import Refusal, Unavailable

_CLOSE = {"Connection": "close"}


class GatewayRefusal(Refusal):
    """A refusal with parts that only an HTTP response has."""

    headers: Mapping[str, str] = {}
    extensions: Mapping[str, str] = {}
    """Extension members of the problem (RFC 9457, 3.2)."""


class MalformedRequest(GatewayRefusal):
    """The bytes on the connection are not an HTTP request (RFC 9112)."""

    kind = ErrorKind.MALFORMED
    slug = "malformed-request"
    headers = _CLOSE

    def __init__(self) -> None:
        super().__init__(
            "This is not an HTTP request. Usual reasons: control characters in a header, an invalid request line."
        )


class MalformedBody(GatewayRefusal):
    """The body is not JSON (RFC 8259, RFC 7493)."""

    kind = ErrorKind.MALFORMED
    slug = "malformed-body"

    def __init__(self) -> None:
        super().__init__("The body is not a JSON document.")


class BodyTooLarge(GatewayRefusal):
    """The body is longer than the limit."""

    kind = ErrorKind.TOO_LARGE
    slug = "body-too-large"
    headers = _CLOSE

    def __init__(self, limit: int) -> None:
        super().__init__(f"The body may have at most {limit} bytes.")


class HeadersTooLarge(GatewayRefusal):
    """The header section is longer than the limit (RFC 6585, 5)."""

    kind = ErrorKind.TOO_LARGE
    slug = "headers-too-large"
    headers = _CLOSE

    def __init__(self, limit: int) -> None:
        super().__init__(f"The header section may have at most {limit} bytes.")


class RequestTimeout(GatewayRefusal):
    """The client did not send its request in time (RFC 9110, 15.5.9)."""

    kind = ErrorKind.MALFORMED
    slug = "request-timeout"
    headers = _CLOSE

    def __init__(self, what: str, seconds: float) -> None:
        super().__init__(f"The {what} did not arrive within {seconds:g} s.")


class InvalidHost(GatewayRefusal):
    """The request has no `Host` field, more than one, or a malformed one (RFC 9112, 3.2)."""

    kind = ErrorKind.MALFORMED
    slug = "invalid-host"
    headers = _CLOSE

    def __init__(self) -> None:
        super().__init__("A request has exactly one Host field: a host, and optionally a port.")


class InvalidRequest(GatewayRefusal):
    """Some fields of the request are invalid."""

    kind = ErrorKind.INVALID
    slug = "invalid-request"

    def __init__(self, errors: tuple[FieldError, ...]) -> None:
        super().__init__("The request is invalid; see `errors`.")
        self.errors = errors


class Unauthorized(GatewayRefusal):
    """The access token is missing or invalid; `error` is the code of the challenge (RFC 6750, 3.1)."""

    kind = ErrorKind.UNAUTHENTICATED
    slug = "unauthorized"

    def __init__(self, detail: str, error: str | None = None) -> None:
        super().__init__(detail)
        self.headers = {"WWW-Authenticate": f'Bearer error="{error}"' if error else "Bearer"}


class Forbidden(GatewayRefusal):
    """The caller may not do this."""

    kind = ErrorKind.FORBIDDEN
    slug = "forbidden"


class NotFound(GatewayRefusal):
    """The resource does not exist, or the caller may not see it: both look the same."""

    kind = ErrorKind.NOT_FOUND
    slug = "not-found"

    def __init__(self, resource: str) -> None:
        super().__init__(f"There is no such {resource}.")


class VersionMismatch(GatewayRefusal):
    """If-Match names no version of the user."""

    kind = ErrorKind.STALE
    slug = "version-mismatch"

    def __init__(self) -> None:
        super().__init__("If-Match names no version of this user.")


class IdempotencyKeyReused(GatewayRefusal):
    """The Idempotency-Key was used before, with another body."""

    kind = ErrorKind.INVALID
    slug = "idempotency-key-reused"

    def __init__(self) -> None:
        super().__init__("This Idempotency-Key belongs to a payment with another body.")
        self.errors = (FieldError(pointer="/header/idempotency-key", code="key_reused", message=str(self)),)


class UnknownUser(GatewayRefusal):
    """The payer does not exist."""

    kind = ErrorKind.INVALID
    slug = "unknown-user"

    def __init__(self) -> None:
        super().__init__("There is no user with this userId.")
        self.errors = (FieldError(pointer="/userId", code="unknown_user", message=str(self)),)


class TooManyRequests(GatewayRefusal):
    """A rate limit is used up (RFC 6585); `headers` say when the next request is allowed."""

    kind = ErrorKind.RATE_LIMITED
    slug = "too-many-requests"

    def __init__(self, limit: str, headers: Mapping[str, str]) -> None:
        super().__init__(f"Too many requests: the limit `{limit}` is used up.")
        self.limit = limit
        self.headers = headers


class AtCapacity(Unavailable):
    """The gateway process already serves its maximum number of requests of one kind."""

    def __init__(self, what: str, limit: int) -> None:
        Refusal.__init__(self, f"The gateway serves at most {limit} {what} at once; try again in a moment.")


class TooManyEventStreams(GatewayRefusal):
    """The caller already has the maximum number of open event streams at this gateway process."""

    kind = ErrorKind.RATE_LIMITED
    slug = "too-many-event-streams"
    headers = {"Retry-After": "1"}  # noqa: RUF012 - read only

    def __init__(self, limit: int) -> None:
        super().__init__(f"You have {limit} open event streams, and may have no more.")
