"""The HTTP API as a reader wants it: what can be called, with what, and what comes back, from its OpenAPI document."""

from collections.abc import Iterator
from functools import cached_property
from typing import Any, NamedTuple
from urllib.parse import quote

from portal.documents import Json
from portal.facts import Fact
from portal.fields import Field, fields
from portal.search import Entry
from portal.system import System, last

PAGE, TRY = "/docs", "/docs/try"
_METHODS = ("get", "post", "put", "patch", "delete")
_FIRST_PROBLEM = 400


class Body(NamedTuple):
    """What is sent or comes back: its media type, what its schema is called, and its fields."""

    media_type: str
    name: str
    fields: tuple[Field, ...]
    example: Any


class Answer(NamedTuple):
    """One status with which a call may end."""

    status: str
    meaning: str
    headers: list[Fact]
    bodies: list[Body]


class Call(NamedTuple):
    """One method of one path; `key` names it in the page, `try_it` is where it can be tried out."""

    method: str
    path: str
    key: str
    title: str
    meaning: str
    logins: list[str]
    parameters: list[tuple[str, tuple[Field, ...]]]
    bodies: list[Body]
    answers: list[Answer]
    problems: list[Answer]
    try_it: str


class HttpApi:
    """What one OpenAPI document says, read once."""

    def __init__(self, document: Json) -> None:
        self._paths: Json = document.get("paths", {})
        self._system = System(document)
        self.info: Json = document["info"]
        self.logins: Json = document.get("components", {}).get("securitySchemes", {})

    @cached_property
    def calls(self) -> list[tuple[str, list[Call]]]:
        """Every call by its tag, in the document's order."""
        found: dict[str, list[Call]] = {}
        for path, methods in self._paths.items():
            for method in _METHODS:
                if said := methods.get(method):
                    tag = (said.get("tags") or ["default"])[0]
                    found.setdefault(tag, []).append(_call(self._system, method, path, tag, said))
        return list(found.items())

    @cached_property
    def problem(self) -> tuple[Field, ...]:
        """The fields of every answer from 400 on."""
        return fields(self._system, self._system.schemas.get("ProblemDetails", {}))

    @cached_property
    def entries(self) -> list[Entry]:
        """The calls, for a search."""
        return [
            Entry("http", f"{call.method} {call.path}", f"{call.title}. {call.meaning}", f"{PAGE}#{quote(call.key)}")
            for _, tagged in self.calls
            for call in tagged
        ]


def _call(system: System, method: str, path: str, tag: str, said: Json) -> Call:
    identifier = said.get("operationId", "")
    answers = [_answer(system, status, answer) for status, answer in sorted(said.get("responses", {}).items())]
    return Call(
        method=method.upper(),
        path=path,
        key=f"{method}-{path}",
        title=said.get("summary", ""),
        meaning=said.get("description", ""),
        logins=[name for scheme in said.get("security", ()) for name in scheme],
        parameters=[*_parameters(system, said.get("parameters", ()))],
        bodies=_bodies(system, said.get("requestBody", {})),
        answers=[answer for answer in answers if not _is_problem(answer)],
        problems=[answer for answer in answers if _is_problem(answer)],
        try_it=f"{TRY}#/{quote(tag, safe='')}/{quote(identifier, safe='')}",
    )


def _parameters(system: System, said: Any) -> Iterator[tuple[str, tuple[Field, ...]]]:
    for place in ("path", "query", "header"):
        mine = [one for one in said if one["in"] == place]
        schema = {
            "properties": {one["name"]: {**one["schema"], "description": one.get("description", "")} for one in mine},
            "required": [one["name"] for one in mine if one.get("required")],
        }
        if mine:
            yield place, fields(system, schema)


def _bodies(system: System, said: Json) -> list[Body]:
    return [_body(system, media_type, shown) for media_type, shown in said.get("content", {}).items()]


def _body(system: System, media_type: str, said: Json) -> Body:
    schema = said.get("schema", {})
    plain = system.schema(schema)
    example = (plain.get("examples") or [None])[0]
    return Body(media_type, last(schema.get("$ref", "")), fields(system, schema), example)


def _answer(system: System, status: str, said: Json) -> Answer:
    headers = [(name, header.get("description", "")) for name, header in said.get("headers", {}).items()]
    return Answer(status, said.get("description", ""), headers, _bodies(system, said))


def _is_problem(answer: Answer) -> bool:
    return not answer.status.isdigit() or int(answer.status) >= _FIRST_PROBLEM
