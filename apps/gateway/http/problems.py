"""Refusals as HTTP responses (RFC 9457): one table of statuses, one shape."""

import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.routing import Match
from structlog.stdlib import get_logger

from apps.gateway.errors import (
    GatewayRefusal,
    HeadersTooLarge,
    InvalidRequest,
    MalformedBody,
    RequestTimeout,
    TooManyRequests,
)
from apps.gateway.http.addresses import address_of
from apps.gateway.http.request_ids import urn_of
from apps.gateway.http.strict_requests import DUPLICATE
from contracts.errors import ErrorKind, FieldError, json_pointer
from kit.errors import OutcomeUnknown, Refusal, RemoteProblem, Unavailable
from kit.runtime.security_log import security_event
from kit.runtime.tracing import trace
from portal.problem_types import ProblemType, title_of

log = get_logger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER = "1"

STATUS = {
    ErrorKind.MALFORMED: 400,
    ErrorKind.TOO_LARGE: 413,
    ErrorKind.INVALID: 422,
    ErrorKind.UNAUTHENTICATED: 401,
    ErrorKind.FORBIDDEN: 403,
    ErrorKind.NOT_FOUND: 404,
    ErrorKind.CONFLICT: 409,
    ErrorKind.STALE: 412,
    ErrorKind.RATE_LIMITED: 429,
    ErrorKind.UNAVAILABLE: 503,
    ErrorKind.OUTCOME_UNKNOWN: 504,
    ErrorKind.INTERNAL: 500,
}
"""HTTP status of each kind of refusal."""
_STATUS_OF_CLASS: Mapping[type[Refusal], int] = {RequestTimeout: 408, HeadersTooLarge: 431}
"""Statuses of what only HTTP refuses."""

PHRASES = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    409: "Conflict",
    412: "Precondition Failed",
    413: "Content Too Large",
    422: "Unprocessable Content",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}
"""Reason phrases of RFC 9110; those of `http.HTTPStatus` differ between Python 3.12 and 3.13."""

_OF_THE_FRAMEWORK = (
    ProblemType("method-not-allowed", ErrorKind.MALFORMED, 405, "The resource has no such method; see `Allow`."),
    ProblemType("internal-error", ErrorKind.INTERNAL, 500, "The gateway or a service failed; the failure is logged."),
)
_NOTHING_CHANGED = "The answer did not arrive in time. Nothing was changed: repeat the request."
_LIMITS_OF_LOAD = frozenset({"address", "caller"})
"""Limits of requests of every kind: they say nothing about an attack, and have a line in the access log."""


def problem_response(refusal: Refusal) -> Response:
    """Return the response to a refused request."""
    headers: Mapping[str, str] = {"Retry-After": RETRY_AFTER} if refusal.kind is ErrorKind.UNAVAILABLE else {}
    extensions: Mapping[str, str] = {}
    if isinstance(refusal, GatewayRefusal):
        headers, extensions = refusal.headers, refusal.extensions
    status = _STATUS_OF_CLASS.get(type(refusal)) or STATUS[refusal.kind]
    return _response(status, refusal.slug, str(refusal), errors=refusal.errors, headers=headers, extensions=extensions)


def refusal_response(refusal: Refusal, method: str) -> Response:
    """Return the response to a request with this method that a route refused."""
    if isinstance(refusal, RemoteProblem) and method == "GET":
        # The fields of the service's request are query parameters here.
        refusal.errors = tuple(e.model_copy(update={"pointer": f"/query{e.pointer}"}) for e in refusal.errors)
    if refusal.kind is ErrorKind.OUTCOME_UNKNOWN:
        return _response(STATUS[refusal.kind], refusal.slug, _NOTHING_CHANGED if method == "GET" else str(refusal))
    return problem_response(refusal)


def failure_response(error: Exception) -> Response:
    """Log an unexpected error and return the response, which does not show it."""
    log.error("request failed", exc_info=error)
    return internal_error()


def internal_error() -> Response:
    """Return the response to a request that failed for a reason that the client does not see."""
    return _response(500, "internal-error", "The gateway failed; the failure is logged.")


def own_types() -> list[ProblemType]:
    """Return the types of problems that the gateway itself answers with."""
    refusals: list[type[Refusal]] = [*_subclasses(GatewayRefusal), Unavailable, OutcomeUnknown]
    return [
        ProblemType(each.slug, each.kind, _STATUS_OF_CLASS.get(each, STATUS[each.kind]), _meaning_of(each))
        for each in refusals
    ] + list(_OF_THE_FRAMEWORK)


def _subclasses(base: type[Refusal]) -> Iterator[type[Refusal]]:
    for each in base.__subclasses__():
        yield each
        yield from _subclasses(each)


def _meaning_of(refusal: type[Refusal]) -> str:
    return inspect.cleandoc(refusal.__doc__ or "").partition("\n")[0]


def install(app: FastAPI) -> None:
    """Add the exception handlers for everything that a route may raise."""

    @app.exception_handler(Refusal)
    async def refused(request: Request, error: Refusal) -> Response:
        if isinstance(error, TooManyRequests) and error.limit not in _LIMITS_OF_LOAD:
            caller = getattr(request.state, "caller", None)
            security_event("throttled", user=caller, address=address_of(request.scope))
        return refusal_response(error, request.method)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        errors = error.errors()
        for each in errors:
            if each["type"] == "json_invalid":
                return problem_response(_refused_json(each.get("ctx", {}).get("error", "")))
        return problem_response(InvalidRequest(tuple(map(_field_error, errors))))

    @app.exception_handler(HTTPException)
    async def framework_error(request: Request, error: HTTPException) -> Response:
        status = error.status_code
        if status == HTTPStatus.BAD_REQUEST:  # such as a body that is not UTF-8, or nested too deeply
            return problem_response(MalformedBody())
        phrase = PHRASES.get(status) or HTTPStatus(status).phrase
        slug = phrase.lower().replace(" ", "-")
        headers = {"Allow": ", ".join(_methods(request))} if status == HTTPStatus.METHOD_NOT_ALLOWED else error.headers
        return _response(status, slug, f"{request.method} {request.url.path}: {phrase}.", headers=headers)

    @app.exception_handler(Exception)
    async def failed(_: Request, error: Exception) -> Response:
        return failure_response(error)


def _refused_json(reason: str) -> Refusal:
    """Return the refusal of a body that is not JSON, or in which a name stands twice."""
    if reason.startswith(DUPLICATE.partition("{")[0]):
        return InvalidRequest((FieldError(pointer="", code="duplicate-key", message=reason),))
    return MalformedBody()


def _response(
    status: int,
    slug: str,
    detail: str,
    *,
    errors: Sequence[FieldError] = (),
    headers: Mapping[str, str] | None = None,
    extensions: Mapping[str, str] | None = None,
) -> Response:
    request_id = trace.get().request_id
    body: dict[str, Any] = {
        "type": f"/problems/{slug}",
        "title": title_of(slug),
        "status": status,
        "detail": detail,
        "code": slug,
        "requestId": request_id,
        **(extensions or {}),
    }
    if instance := urn_of(request_id):
        body["instance"] = instance
    if errors:
        body["errors"] = [error.model_dump() for error in errors]
    # ASCII only: a value that the client sent may contain lone surrogates, which UTF-8 cannot encode.
    return Response(json.dumps(body), status, headers, media_type=MEDIA_TYPE)


def _methods(request: Request) -> list[str]:
    """Return all methods of a path; FastAPI itself lists those of the first matching route only."""
    matching = (r for r in iter_route_contexts(request.app.routes) if r.matches(request.scope)[0] is not Match.NONE)
    return sorted({method for route in matching for method in route.methods or ()})


def _field_error(error: Mapping[str, Any]) -> FieldError:
    place, *path = error["loc"]
    # The pointer of a body field is relative to the body; any other begins with its place, such as /query.
    return FieldError(
        pointer=json_pointer(path if place == "body" else (place, *path)), code=error["type"], message=error["msg"]
    )
