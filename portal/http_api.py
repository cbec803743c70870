"""The calls of the HTTP API with parameters, bodies and responses, from its OpenAPI document."""

from collections.abc import Iterator
from functools import cached_property
from typing import Any, NamedTuple
from urllib.parse import quote

from kit.asyncapi.reader import DocumentReader, Json, last_part
from portal.delivery import Fact
from portal.fields import Field, fields
from portal.search import Entry

PAGE, TRY = "/docs", "/docs/try"
_METHODS = ("get", "post", "put", "patch", "delete")
_FIRST_PROBLEM = 400


class Body(NamedTuple):
    """A request or response body; `name` is the name of its schema."""

    media_type: str
    name: str
    fields: tuple[Field, ...]
    example: Any


class HttpResponse(NamedTuple):
    """One documented response of a call."""

    status: str
    description: str
    headers: list[Fact]
    bodies: list[Body]


class Call(NamedTuple):
    """One method of one path; `key` is its anchor in the page, `try_it` the address of its form."""

    method: str
    path: str
    key: str
    title: str
    description: str
    logins: list[str]
    parameters: list[tuple[str, tuple[Field, ...]]]
    bodies: list[Body]
    responses: list[HttpResponse]
    problems: list[HttpResponse]
    try_it: str


class HttpApi:
    """One OpenAPI document, parsed once."""

    def __init__(self, document: Json) -> None:
        self._paths: Json = document.get("paths", {})
        self._reader = DocumentReader(document)
        self.info: Json = document["info"]
        self.logins: Json = document.get("components", {}).get("securitySchemes", {})

    @cached_property
    def calls(self) -> list[tuple[str, list[Call]]]:
        """All calls by tag, in the order of the document."""
        calls: dict[str, list[Call]] = {}
        for path, methods in self._paths.items():
            for method in _METHODS:
                if operation := methods.get(method):
                    tag = (operation.get("tags") or ["default"])[0]
                    calls.setdefault(tag, []).append(_call(self._reader, method, path, tag, operation))
        return list(calls.items())

    @cached_property
    def problem(self) -> tuple[Field, ...]:
        """The fields of every response with a status from 400 on."""
        return fields(self._reader, self._reader.schemas.get("ProblemDetails", {}))

    @cached_property
    def entries(self) -> list[Entry]:
        """Search entries of the calls."""
        return [
            Entry(
                "http", f"{call.method} {call.path}", f"{call.title}. {call.description}", f"{PAGE}#{quote(call.key)}"
            )
            for _, tagged in self.calls
            for call in tagged
        ]


def _call(reader: DocumentReader, method: str, path: str, tag: str, operation: Json) -> Call:
    identifier = operation.get("operationId", "")
    responses = [_response(reader, status, one) for status, one in sorted(operation.get("responses", {}).items())]
    return Call(
        method=method.upper(),
        path=path,
        key=f"{method}-{path}",
        title=operation.get("summary", ""),
        description=operation.get("description", ""),
        logins=[name for scheme in operation.get("security", ()) for name in scheme],
        parameters=[*_parameters(reader, operation.get("parameters", ()))],
        bodies=_bodies(reader, operation.get("requestBody", {})),
        responses=[one for one in responses if not _is_problem(one)],
        problems=[one for one in responses if _is_problem(one)],
        try_it=f"{TRY}#/{quote(tag, safe='')}/{quote(identifier, safe='')}",
    )


def _parameters(reader: DocumentReader, parameters: Any) -> Iterator[tuple[str, tuple[Field, ...]]]:
    for place in ("path", "query", "header"):
        mine = [one for one in parameters if one["in"] == place]
        schema = {
            "properties": {one["name"]: {**one["schema"], "description": one.get("description", "")} for one in mine},
            "required": [one["name"] for one in mine if one.get("required")],
        }
        if mine:
            yield place, fields(reader, schema)


def _bodies(reader: DocumentReader, parent: Json) -> list[Body]:
    return [_body(reader, media_type, content) for media_type, content in parent.get("content", {}).items()]


def _body(reader: DocumentReader, media_type: str, content: Json) -> Body:
    schema = content.get("schema", {})
    resolved = reader.schema(schema)
    example = (resolved.get("examples") or [None])[0]
    return Body(media_type, last_part(schema.get("$ref", "")), fields(reader, schema), example)


def _response(reader: DocumentReader, status: str, content: Json) -> HttpResponse:
    headers = [(name, header.get("description", "")) for name, header in content.get("headers", {}).items()]
    return HttpResponse(status, content.get("description", ""), headers, _bodies(reader, content))


def _is_problem(response: HttpResponse) -> bool:
    return not response.status.isdigit() or int(response.status) >= _FIRST_PROBLEM
