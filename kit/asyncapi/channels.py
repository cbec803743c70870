"""AsyncAPI channels: the subjects of a service's messages."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from contracts.base import State
from contracts.errors import Problem
from kit.asyncapi.delivery import of_stream
from kit.asyncapi.operations import Operation
from kit.asyncapi.writing import named, ref, title

_BATCH = {
    "description": "The `batch` in the body: each batch has a separate subject, by which it can be found.",
    "location": "$message.payload#/batch",
}
_DEAD_SUBJECT = {"description": "The original subject of the message, including its dots."}


def channels_of(operations: Iterable[Operation]) -> dict[str, Any]:
    """Return the channels of operations and replies by name. Raises `ValueError` if two differ under one name."""
    return named((pair for operation in operations for pair in _channels(operation)), "channels")


def _channels(operation: Operation) -> Iterator[tuple[str, dict[str, Any]]]:
    message = operation.message
    channel: dict[str, Any] = {"address": message.subject, "title": title(message)}
    if operation.stream is not None:
        channel["description"] = f"Stored in the stream {operation.stream.name}."
    channel["messages"] = _messages(message)
    if parameters := re.findall(r"\{(\w+)\}", message.subject):
        channel["parameters"] = {name: _parameter(name, message) for name in parameters}
    if operation.stream is not None:
        channel["x-nats"] = {"stream": of_stream(operation.stream)}
    yield operation.channel, channel
    if operation.reply is not None:
        yield (
            f"{operation.channel}.reply",
            {
                "address": None,
                "title": f"Reply to {title(message)}",
                "description": "The reply subject that the request names.",
                "messages": _messages(operation.reply, Problem),
            },
        )


def _messages(*messages: type[Any]) -> dict[str, Any]:
    return {message.__name__: ref("components", "messages", message.__name__) for message in messages}


def _parameter(name: str, message: type[Any]) -> dict[str, Any]:
    if name == "subject":
        return _DEAD_SUBJECT
    if issubclass(message, State):
        return {
            "description": f"The `{name}` in the body: each has a separate subject, with its last state.",
            "location": f"$message.payload#/{name}",
        }
    if name == "batch":
        return _BATCH
    return {
        "description": "The `id` in the body, a UUID: each command has a separate subject, by which it can be found.",
        "location": "$message.payload#/id",
    }
