"""The OpenAPI document, with problem details as its one kind of error."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field

from apps.gateway.http.problems import MEDIA_TYPE, PHRASES
from contracts.errors import FieldError

_REFERENCES = "#/components/schemas/{model}"
HEADERS = {
    "Cache-Control": "Who may keep the answer, and for how long (RFC 9111).",
    "ETag": "What `If-Match` and `If-None-Match` compare (RFC 9110).",
    "Idempotent-Replayed": "`true` where the key was used before: the answer is that of the first time.",
    "Location": "Where what was made can be read.",
    "Preference-Applied": "How long the answer was waited for (RFC 7240).",
    "Retry-After": "In so many seconds it may be tried again (RFC 9110).",
}
"""What the headers of answers mean that are the gateway's own."""
_LATER = frozenset({429, 503})


class ProblemDetails(BaseModel):
    """What every answer from 400 on looks like (RFC 9457)."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(examples=["/problems/email-taken"])
    title: str = Field(examples=["Email taken"])
    status: int = Field(examples=[409])
    detail: str = Field(examples=["ada@example.com belongs to another user."])
    code: str = Field(examples=["email-taken"], description="A slug that clients switch on.")
    request_id: str = Field(alias="requestId", examples=["0198c5c87c1e7a529d3b4f1e8a6b2c01"])
    errors: list[FieldError] | None = Field(None, description="With 422: each field that is wrong.")


def operation_id(route: APIRoute) -> str:
    """Name an operation for those who generate clients: `createPayment`; to be kept when a path changes."""
    first, *rest = route.name.split("_")
    return first + "".join(map(str.capitalize, rest))


def answered(meaning: str, *headers: str) -> dict[str, Any]:
    """Say what a success means, and which headers it has."""
    return {"description": meaning, "headers": _headers(*headers)}


def _headers(*names: str) -> dict[str, Any]:
    return {name: {"description": HEADERS[name], "schema": {"type": "string"}} for name in names}


def documented(*statuses: int, also: dict[int | str, dict[str, Any]] | None = None) -> dict[int | str, dict[str, Any]]:
    """Say in the OpenAPI document that an operation may answer with problems of these statuses, `also` otherwise."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}}
    problems: dict[int | str, dict[str, Any]] = {
        status: {"description": PHRASES[status], "content": content} for status in statuses
    }
    for status in _LATER & problems.keys():
        problems[status]["headers"] = _headers("Retry-After")
    return problems | (also or {})


def document(app: FastAPI) -> dict[str, Any]:
    """Return the document, made once."""
    if not app.openapi_schema:
        schema = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
        problem = ProblemDetails.model_json_schema(ref_template=_REFERENCES)
        schemas = schema.setdefault("components", {}).setdefault("schemas", {})
        schemas |= problem.pop("$defs", {}) | {ProblemDetails.__name__: problem}
        app.openapi_schema = schema
    return app.openapi_schema
