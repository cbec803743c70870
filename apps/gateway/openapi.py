"""The OpenAPI document, with problem details as its one kind of error."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from apps.gateway.problems import ProblemDetails

_REFERENCES = "#/components/schemas/{model}"


def document(app: FastAPI) -> dict[str, Any]:
    """Return the document, made once."""
    if not app.openapi_schema:
        schema = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
        problem = ProblemDetails.model_json_schema(ref_template=_REFERENCES)
        schemas = schema.setdefault("components", {}).setdefault("schemas", {})
        schemas |= problem.pop("$defs", {}) | {ProblemDetails.__name__: problem}
        app.openapi_schema = schema
    return app.openapi_schema
