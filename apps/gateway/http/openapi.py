"""The OpenAPI document; every error in it is a problem (RFC 9457)."""

import json
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field

from apps.gateway.errors import (
    BodyTooLarge,
    Forbidden,
    HeadersTooLarge,
    InvalidRequest,
    MalformedBody,
    NotFound,
    RequestTimeout,
    TooManyRequests,
    Unauthorized,
    VersionMismatch,
)
from apps.gateway.http.problems import MEDIA_TYPE, internal_error, problem_response
from apps.gateway.http.request_ids import urn_of
from contracts.errors import ErrorKind, FieldError, Problem
from kit.errors import OutcomeUnknown, RemoteProblem, Unavailable

_REFERENCES = "#/components/schemas/{model}"
HEADERS = {
    "Cache-Control": "Who may cache the response, and for how long (RFC 9111).",
    "ETag": "Version of the resource, for `If-Match` and `If-None-Match` (RFC 9110).",
    "Idempotent-Replayed": "`true` if the key was used before; the response is the first one again.",
    "Location": "Path of the new resource.",
    "Preference-Applied": "The applied wait (RFC 7240).",
    "Retry-After": "Seconds until the request may be repeated (RFC 9110).",
}
"""Descriptions of the response headers."""
_REQUEST_ID = "0198c5c87c1e7a529d3b4f1e8a6b2c01"
_AMOUNT = FieldError(pointer="/amount", code="greater_than_equal", message="Input should be greater than or equal to 1")
_TAKEN = Problem(kind=ErrorKind.CONFLICT, slug="email-taken", detail="ada@example.com belongs to another user.")
_RESPONSES = (
    internal_error(),
    *map(
        problem_response,
        (
            MalformedBody(),
            Unauthorized("An access token is required: Authorization: Bearer ..."),
            Forbidden("This is for admins."),
            NotFound("payment"),
            RequestTimeout("body", 60),
            RemoteProblem(_TAKEN),
            VersionMismatch(),
            BodyTooLarge(16 << 10),
            InvalidRequest((_AMOUNT,)),
            TooManyRequests("caller", {}),
            HeadersTooLarge(32 << 10),
            Unavailable("users service"),
            OutcomeUnknown("users service"),
        ),
    ),
)
EXAMPLES: Mapping[int, dict[str, Any]] = {
    each.status_code: json.loads(bytes(each.body)) | {"requestId": _REQUEST_ID, "instance": urn_of(_REQUEST_ID)}
    for each in _RESPONSES
}
"""The most frequent problem of each status, as the gateway responds with it."""
_RETRYABLE = frozenset({429, 503})


class ProblemDetails(BaseModel):
    """The body of every response from 400 on (RFC 9457)."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(examples=["/problems/email-taken"])
    title: str = Field(examples=["Email taken"])
    status: int = Field(examples=[409])
    detail: str = Field(examples=["ada@example.com belongs to another user."])
    code: str = Field(examples=["email-taken"], description="Stable slug for programs.")
    request_id: str = Field(alias="requestId", examples=["0198c5c87c1e7a529d3b4f1e8a6b2c01"])
    instance: str | None = Field(
        None,
        examples=["urn:uuid:0198c5c8-7c1e-7a52-9d3b-4f1e8a6b2c01"],
        description="URN of the request id; absent if the client chose an `X-Request-Id` that is not a UUID.",
    )
    errors: list[FieldError] | None = Field(None, description="With 422: the invalid fields.")


def operation_id(route: APIRoute) -> str:
    """Return the operation id, such as `createPayment`; generated clients use it as a name, so it never changes."""
    first, *rest = route.name.split("_")
    return first + "".join(map(str.capitalize, rest))


def success(meaning: str, *headers: str) -> dict[str, Any]:
    """Describe a success and its headers."""
    return {"description": meaning, "headers": _headers("Cache-Control", *headers)}


def _headers(*names: str) -> dict[str, Any]:
    return {name: {"description": HEADERS[name], "schema": {"type": "string"}} for name in names}


def responses(*statuses: int, also: dict[int | str, dict[str, Any]] | None = None) -> dict[int | str, dict[str, Any]]:
    """Describe the responses of an operation: problems with these statuses, and `also`."""
    problems: dict[int | str, dict[str, Any]] = {status: _problem(EXAMPLES[status]) for status in statuses}
    for status in _RETRYABLE & problems.keys():
        problems[status]["headers"] = _headers("Retry-After")
    return problems | (also or {})


def _problem(example: dict[str, Any]) -> dict[str, Any]:
    """Describe the response with this problem, in its own words: those of `http.HTTPStatus` differ between versions."""
    examples = {example["code"]: {"$ref": f"#/components/examples/{example['code']}"}}
    content = {"schema": {"$ref": "#/components/schemas/ProblemDetails"}, "examples": examples}
    return {"description": example["title"], "content": {MEDIA_TYPE: content}}


def document(app: FastAPI) -> dict[str, Any]:
    """Return the document; it is built once."""
    if not app.openapi_schema:
        schema = get_openapi(
            title=app.title, version=app.version, summary=app.summary, routes=app.routes, servers=[{"url": "/"}]
        )
        problem = ProblemDetails.model_json_schema(ref_template=_REFERENCES)
        schemas = schema.setdefault("components", {}).setdefault("schemas", {})
        schemas |= problem.pop("$defs", {}) | {ProblemDetails.__name__: problem}
        schema["components"]["examples"] = {
            each["code"]: {"summary": each["title"], "value": each} for each in EXAMPLES.values()
        }
        app.openapi_schema = schema
    return app.openapi_schema
