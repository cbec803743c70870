"""Refusals as HTTP answers (RFC 9457): one table, one shape, without exception."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.routing import Match
from structlog.stdlib import get_logger

from contracts.errors import ErrorKind, FieldError
from kit.errors import Refusal, RemoteProblem
from kit.messaging.server import pointer
from kit.runtime.tracing import trace

log = get_logger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER = "1"

STATUS = {
    ErrorKind.INVALID: HTTPStatus.UNPROCESSABLE_ENTITY,
    ErrorKind.UNAUTHENTICATED: HTTPStatus.UNAUTHORIZED,
    ErrorKind.FORBIDDEN: HTTPStatus.FORBIDDEN,
    ErrorKind.NOT_FOUND: HTTPStatus.NOT_FOUND,
    ErrorKind.CONFLICT: HTTPStatus.CONFLICT,
    ErrorKind.STALE: HTTPStatus.PRECONDITION_FAILED,
    ErrorKind.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    ErrorKind.OUTCOME_UNKNOWN: HTTPStatus.GATEWAY_TIMEOUT,
    ErrorKind.INTERNAL: HTTPStatus.INTERNAL_SERVER_ERROR,
}

_SLUGS = {
    HTTPStatus.BAD_REQUEST: "bad-request",
    HTTPStatus.NOT_FOUND: "not-found",
    HTTPStatus.METHOD_NOT_ALLOWED: "method-not-allowed",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "body-too-large",
}


class HTTPRefusal(Exception):
    """The gateway itself says no."""

    def __init__(self, status: HTTPStatus, slug: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.slug, self.detail, self.headers = status, slug, detail, headers


def answer(
    status: int,
    slug: str,
    detail: str,
    *,
    errors: tuple[FieldError, ...] = (),
    headers: Mapping[str, str] | None = None,
    **more: str,
) -> Response:
    """Make a problem+json answer; `more` are extension members."""
    body: dict[str, Any] = {
        "type": f"/problems/{slug}",
        "title": slug.replace("-", " ").replace("_", " "),
        "status": int(status),
        "detail": detail,
        "code": slug,
        "requestId": trace.get().request_id,
    } | more
    if errors:
        body["errors"] = [error.model_dump() for error in errors]
    # ASCII only: what a client sent and is told again may hold lone surrogates, which have no UTF-8.
    return Response(json.dumps(body), int(status), headers, media_type=MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Map everything that a route may raise."""

    @app.exception_handler(HTTPRefusal)
    async def own(_: Request, error: HTTPRefusal) -> Response:
        return answer(error.status, error.slug, error.detail, headers=error.headers)

    @app.exception_handler(RemoteProblem)
    async def refused(request: Request, error: RemoteProblem) -> Response:
        errors = error.errors
        if request.method == "GET":  # what the service was asked stood in the query
            errors = tuple(e.model_copy(update={"pointer": f"/query{e.pointer}"}) for e in errors)
        return _refusal(error.kind, error.slug, str(error), errors)

    @app.exception_handler(Refusal)
    async def refusal(_: Request, error: Refusal) -> Response:
        return _refusal(error.kind, error.slug, str(error), error.errors)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        errors = error.errors()
        if any(e["type"] == "json_invalid" for e in errors):
            return answer(HTTPStatus.BAD_REQUEST, "malformed-body", "The body is no JSON document.")
        return answer(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "invalid-request",
            "The request is not as it must be; errors says where.",
            errors=tuple(_field_error(e) for e in errors),
        )

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        status = HTTPStatus(error.status_code)
        slug = _SLUGS.get(status, status.phrase.lower().replace(" ", "-"))
        detail = f"{request.method} {request.url.path}: {status.description or status.phrase}"
        headers = error.headers
        if status is HTTPStatus.METHOD_NOT_ALLOWED:
            headers = {"Allow": ", ".join(_methods(request))}
        return answer(status, slug, detail, headers=headers)

    @app.exception_handler(Exception)
    async def failed(_: Request, error: Exception) -> Response:
        log.error("a request failed", exc_info=error)
        return answer(HTTPStatus.INTERNAL_SERVER_ERROR, "internal-error", "The gateway failed; the failure is logged.")


def _methods(request: Request) -> list[str]:
    """Return what can be done at a path; FastAPI itself names the methods of the first route that it finds there."""
    there = (r for r in iter_route_contexts(request.app.routes) if r.matches(request.scope)[0] is not Match.NONE)
    return sorted({method for route in there for method in route.methods or ()})


def _refusal(kind: ErrorKind, slug: str, detail: str, errors: tuple[FieldError, ...]) -> Response:
    headers = {"Retry-After": RETRY_AFTER} if kind is ErrorKind.UNAVAILABLE else None
    return answer(STATUS[kind], slug, detail, errors=errors, headers=headers)


def _field_error(error: Mapping[str, Any]) -> FieldError:
    where, *path = error["loc"]
    # A field of the body is pointed to as RFC 6901 does; what stands elsewhere says where first.
    return FieldError(
        pointer=pointer(path if where == "body" else (where, *path)), code=error["type"], message=error["msg"]
    )
