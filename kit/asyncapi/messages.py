"""AsyncAPI messages: headers, payload, an example of each, and the problems with which a service refuses."""

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any, Literal

from pydantic import BaseModel, Field, create_model
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from contracts.base import Event
from contracts.errors import ErrorKind, Problem
from contracts.headers import (
    CommandHeaders,
    DeadLetterHeaders,
    EventHeaders,
    ProblemHeaders,
    ReplyHeaders,
    RequestHeaders,
    StateHeaders,
    data_schema,
    header_example,
    source_of,
)
from contracts.streams import stream_of
from kit.asyncapi.operations import Operation
from kit.asyncapi.writing import described, named, prose, ref, title
from kit.errors import Refusal

REFUSALS = "x-problems"
"""Extension of the message `Problem`: the list of a service's problems."""

_HEADERS: dict[str, type[BaseModel]] = {
    "request": RequestHeaders,
    "reply": ReplyHeaders,
    "problem": ProblemHeaders,
    "command": CommandHeaders,
    "state": StateHeaders,
    "dead-letter": DeadLetterHeaders,
}
_RECEIVED: frozenset[str] = frozenset({"request", "command"})
"""Kinds whose schema describes what is accepted; that of other kinds describes what is sent."""


def components_of(operations: Iterable[Operation], refusals: Iterable[type[Refusal]]) -> dict[str, Any]:
    """Return the messages of all operations and the schemas that they need, by name."""
    operations = list(operations)
    kinds = dict(sorted(set(_kinds(operations)), key=lambda pair: pair[0].__name__))
    modes: list[tuple[type[BaseModel], JsonSchemaMode]] = [
        (message, "validation" if kind in _RECEIVED else "serialization") for message, kind in kinds.items()
    ]
    headers = dict.fromkeys(_headers(message, kind) for message, kind in kinds.items())
    modes += [(each, "serialization") for each in sorted(headers, key=lambda each: each.__name__)]
    _, schemas = models_json_schema(modes, ref_template="#/components/schemas/{model}")
    messages = named(((message.__name__, _message(message, kind)) for message, kind in kinds.items()), "messages")
    if any(operation.role == "replies" for operation in operations):
        messages[Problem.__name__][REFUSALS] = _refusals(refusals)
    return {"messages": messages, "schemas": named(schemas["$defs"].items(), "schemas")}


def _kinds(operations: Iterable[Operation]) -> Iterator[tuple[Any, str]]:
    for operation in operations:
        yield operation.message, operation.kind
        if operation.reply is not None:
            yield operation.reply, "reply"
            yield Problem, "problem"


@cache
def _headers(message: type[BaseModel], kind: str) -> type[BaseModel]:
    """Return the headers of a message: those of an event have the URI of its schema as a constant.

    Today's publisher always sends it; an event of an earlier version has none, or another one.
    """
    if not issubclass(message, Event):
        return _HEADERS[kind]
    uri = data_schema(message.subject, message.schema_version)
    described = EventHeaders.model_fields["data_schema"]
    field: Any = (Literal[uri], Field(alias=described.alias, description=described.description, examples=[uri]))
    return create_model(
        f"{message.__name__}Headers", __base__=EventHeaders, __doc__=EventHeaders.__doc__, data_schema=field
    )


def _message(message: type[BaseModel], kind: str) -> dict[str, Any]:
    extra = message.model_config.get("json_schema_extra")
    (payload,) = extra["examples"] if isinstance(extra, dict) and isinstance(extra["examples"], list) else (None,)
    return {
        "name": message.__name__,
        "title": title(message),
        **described(message.__doc__),
        "contentType": "application/json",
        "tags": [{"name": kind}],
        "headers": ref("components", "schemas", _headers(message, kind).__name__),
        "payload": ref("components", "schemas", message.__name__),
        "examples": [{"name": "example", "headers": _example_headers(message, kind, payload), "payload": payload}],
    }


def _example_headers(message: type[BaseModel], kind: str, payload: Any) -> dict[str, str]:
    """Return example headers that match the example's payload."""
    own: dict[str, str] = {}
    if issubclass(message, Event):
        event = message.model_validate(payload)
        own = {
            "ce-type": event.subject,
            "ce-source": source_of(stream_of(event.subject).owner or ""),
            "ce-subject": str(event.aggregate_id),
            "ce-aggregateversion": str(event.aggregate_version),
        }
    return header_example(_headers(message, kind)) | own


def _refusals(refusals: Iterable[type[Refusal]]) -> list[dict[str, str]]:
    problems = {"internal-error": (ErrorKind.INTERNAL, "The service failed; its log has the reason.")}
    problems |= {refusal.slug: (refusal.kind, prose(refusal.__doc__)) for refusal in refusals}
    return [{"slug": slug, "kind": kind.value, "description": text} for slug, (kind, text) in sorted(problems.items())]
