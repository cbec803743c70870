"""The subjects that a service's messages go through."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from contracts.errors import Problem
from kit.asyncapi.delivery import of_stream
from kit.asyncapi.operations import Operation
from kit.asyncapi.writing import named, ref, title

_DEAD_SUBJECT = {"description": "The subject that the message was sent under at first, with all of its dots."}


def channels_of(operations: Iterable[Operation]) -> dict[str, Any]:
    """Return the channel of each operation, and that of its replies, by name; `ValueError` where two differ."""
    return named((pair for operation in operations for pair in _channels(operation)), "channels")


def _channels(operation: Operation) -> Iterator[tuple[str, dict[str, Any]]]:
    message = operation.message
    channel: dict[str, Any] = {"address": message.subject, "title": title(message)}
    if operation.stream is not None:
        channel["description"] = f"Kept in the stream {operation.stream.name}."
    channel["messages"] = _messages(message)
    if parameters := re.findall(r"\{(\w+)\}", message.subject):
        channel["parameters"] = {name: _parameter(name) for name in parameters}
    if operation.stream is not None:
        channel["x-nats"] = {"stream": of_stream(operation.stream)}
    yield operation.channel, channel
    if operation.reply is not None:
        yield (
            f"{operation.channel}.reply",
            {
                "address": None,
                "title": f"Reply to {title(message)}",
                "description": "Each request names the subject of its reply.",
                "messages": _messages(operation.reply, Problem),
            },
        )


def _messages(*messages: type[Any]) -> dict[str, Any]:
    return {message.__name__: ref("components", "messages", message.__name__) for message in messages}


def _parameter(name: str) -> dict[str, Any]:
    if name == "subject":
        return _DEAD_SUBJECT
    return {
        "description": "The `id` in the body, a UUID: each has a subject of its own, under which it can be looked up.",
        "location": "$message.payload#/id",
    }
