"""AsyncAPI operations: one for each role in which a service handles or sends a message."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydantic import BaseModel

from contracts.base import DurableCommand, Event, Request, State
from contracts.dead_letters import DeadLetter
from contracts.errors import Problem
from contracts.streams import DEAD_LETTERS, Stream, stream_of
from kit.asyncapi import delivery
from kit.asyncapi.handlers import Handled
from kit.asyncapi.writing import described, named, ref, title

_SEND_ROLES = frozenset({"publishes", "requests", "dead-letters"})
_PHRASES = {"replies": "replies to", "subscribes": "subscribes to"}
"""Titles of roles that need a preposition."""


@dataclass(frozen=True)
class Operation:
    """What one service does with one message.

    The role is `replies` or `requests` for a request; `consumes` (with a durable consumer), `subscribes` (while the
    process runs) or `publishes` for a command, event or state; `dead-letters` for messages that could not be handled.
    """

    service: str
    role: str
    message: Any
    docstring: str | None
    delivery: Mapping[str, Any]
    """How NATS delivers the message: content of the extension `x-nats`."""

    @property
    def id(self) -> str:
        """The unique name of the operation."""
        return f"{self.service}.{self.role}.{self.message.__name__}"

    @property
    def channel(self) -> str:
        """The name of the channel: the subject without its parameters."""
        return ".".join(token for token in self.message.subject.split(".") if not token.startswith("{"))

    @property
    def kind(self) -> str:
        """The kind of the message: `request`, `command`, `event`, `state` or `dead-letter`."""
        kinds = {"request": Request, "command": DurableCommand, "event": Event, "state": State}
        return next((kind for kind, base in kinds.items() if issubclass(self.message, base)), "dead-letter")

    @cached_property
    def reply(self) -> type[BaseModel] | None:
        """The reply to a request that is not refused; None for other messages."""
        return self.message.reply_type() if issubclass(self.message, Request) else None

    @property
    def stream(self) -> Stream | None:
        """The stream that stores the message; None for a request."""
        return None if self.reply is not None else stream_of(self.message.subject)


def received(service: str, handled: Iterable[Handled]) -> Iterator[Operation]:
    """Yield an operation for each message that the service handles, and one for the messages that it dead-letters."""
    dead_letters = False
    for each in handled:
        if not each.documented:
            continue
        yield Operation(service, each.role, each.message, each.handler.__doc__, _delivery_of(each))
        dead_letters = dead_letters or each.role == "consumes"
    if dead_letters:
        docstring = "Store messages that could not be handled until an operator replays or discards them."
        yield Operation(service, "dead-letters", DeadLetter, docstring, delivery.of_dead_letters(DEAD_LETTERS))


def _delivery_of(handled: Handled) -> Mapping[str, Any]:
    if handled.role == "replies":
        return delivery.of_replies(handled.queue)
    stream = stream_of(handled.message.subject)
    if handled.role == "consumes":
        return delivery.of_consumes(handled, stream)
    return delivery.of_subscribes(stream)


def published(service: str, messages: Sequence[type[DurableCommand | Event | State]]) -> Iterator[Operation]:
    """Yield an operation for each message that the service publishes."""
    for message in messages:
        details = delivery.of_publishes(stream_of(message.subject), message)
        yield Operation(service, "publishes", message, message.__doc__, details)


def requested(service: str, messages: Sequence[type[Request[Any]]]) -> Iterator[Operation]:
    """Yield an operation for each request that the service sends."""
    for message in messages:
        yield Operation(service, "requests", message, message.__doc__, delivery.of_requests())


def operations_by_id(operations: Iterable[Operation]) -> dict[str, Any]:
    """Return the document's operations by id. Raises `ValueError` if two have the same id."""
    pairs = [(each.id, _content(each)) for each in operations]
    if duplicates := [name for name, times in Counter(name for name, _ in pairs).items() if times > 1]:
        raise ValueError(f"two operations have the same name: {', '.join(duplicates)}")
    return named(pairs, "operations")


def _content(operation: Operation) -> dict[str, Any]:
    channel, name = operation.channel, operation.message.__name__
    content: dict[str, Any] = {
        "action": "send" if operation.role in _SEND_ROLES else "receive",
        "channel": ref("channels", channel),
        "title": f"{operation.service} {_PHRASES.get(operation.role, operation.role)} {title(operation.message)}",
        **described(operation.docstring),
        "tags": [{"name": operation.kind}],
        "messages": [ref("channels", channel, "messages", name)],
    }
    if operation.reply is not None:
        replies = [operation.reply.__name__, Problem.__name__]
        content["reply"] = {
            "address": {
                "location": "$message.header#/reply_to",
                "description": "The reply subject of the message, which NATS clients set for every request.",
            },
            "channel": ref("channels", f"{channel}.reply"),
            "messages": [ref("channels", f"{channel}.reply", "messages", reply) for reply in replies],
        }
    return content | {"x-nats": {"role": operation.role, **operation.delivery}}
