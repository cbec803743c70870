"""The OpenAPI document, with problem details as its one kind of error."""

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, ConfigDict, Field

from apps.gateway.problems import MEDIA_TYPE
from contracts.errors import FieldError

_REFERENCES = "#/components/schemas/{model}"


class ProblemDetails(BaseModel):
    """What every answer from 400 on looks like (RFC 9457)."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(examples=["/problems/email-taken"])
    title: str = Field(examples=["email taken"])
    status: int = Field(examples=[409])
    detail: str = Field(examples=["ada@example.com belongs to another user."])
    code: str = Field(examples=["email-taken"], description="A slug that clients switch on.")
    request_id: str = Field(alias="requestId", examples=["0198c5c87c1e7a529d3b4f1e8a6b2c01"])
    errors: list[FieldError] | None = Field(None, description="With 422: each field that is wrong.")


def documented(*statuses: int, also: dict[int | str, dict[str, Any]] | None = None) -> dict[int | str, dict[str, Any]]:
    """Say in the OpenAPI document that an operation may answer with problems of these statuses, `also` otherwise."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}}
    problems: dict[int | str, dict[str, Any]] = {
        status: {"description": HTTPStatus(status).phrase, "content": content} for status in statuses
    }
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
