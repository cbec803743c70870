"""What a service does with messages: one operation for each role that it has towards one."""

import typing
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import UnionType
from typing import Any, Union

from faststream.nats.subscriber.usecases import PullStreamSubscriber
from pydantic import BaseModel

from contracts.base import Command, Event, Request
from contracts.dead_letters import DeadLetter
from contracts.errors import Problem
from contracts.streams import DEAD_LETTERS, Stream, stream_of
from kit.asyncapi import delivery
from kit.asyncapi.writing import described, named, ref, title

_SENDING = frozenset({"publishes", "requests", "dead-letters"})
_PHRASES = {"replies": "replies to", "subscribes": "subscribes to"}
"""How a title names the role, where the role alone is not English."""


@dataclass(frozen=True)
class Operation:
    """What one service does with one message.

    The role is `replies` or `requests` for a request; `consumes` (under a durable name, without missing one),
    `subscribes` (while the process runs) or `publishes` for a command or event; `dead-letters` for what failed.
    """

    service: str
    role: str
    message: Any
    about: str | None
    facts: Mapping[str, Any]
    """What NATS does with it: the extension `x-nats`."""

    @property
    def id(self) -> str:
        """Its name, which no other one has."""
        return f"{self.service}.{self.role}.{self.message.__name__}"

    @property
    def channel(self) -> str:
        """The name of the channel: the subject without what is different from one message to the next."""
        return ".".join(part for part in self.message.subject.split(".") if not part.startswith("{"))

    @property
    def kind(self) -> str:
        """What the message is."""
        kinds = {"request": Request, "command": Command, "event": Event}
        return next((kind for kind, base in kinds.items() if issubclass(self.message, base)), "dead-letter")

    @cached_property
    def reply(self) -> type[BaseModel] | None:
        """What a request is answered with when it is not refused; None of everything else."""
        return self.message.reply_type() if issubclass(self.message, Request) else None

    @property
    def stream(self) -> Stream | None:
        """The stream that keeps the message; none keeps a request."""
        return None if self.reply is not None else stream_of(self.message.subject)


def received(service: str, subscribers: Iterable[Any]) -> Iterator[Operation]:
    """Yield an operation for each message that the subscribers handle. Raises `TypeError` for any other subscriber."""
    dead_letters = False
    for subscriber in subscribers:
        for message, handler in handled(subscriber):
            if issubclass(message, Request):
                yield Operation(service, "replies", message, handler.__doc__, delivery.of_replies(subscriber.queue))
            elif isinstance(subscriber, PullStreamSubscriber):
                dead_letters = True
                facts = delivery.of_consumes(message, stream_of(message.subject), subscriber)
                yield Operation(service, "consumes", message, handler.__doc__, facts)
            else:
                facts = delivery.of_subscribes(stream_of(message.subject))
                yield Operation(service, "subscribes", message, handler.__doc__, facts)
    if dead_letters:
        about = "Keep messages that could not be handled until an operator replays or discards them."
        yield Operation(service, "dead-letters", DeadLetter, about, delivery.of_dead_letters(DEAD_LETTERS))


def published(service: str, messages: Sequence[type[Command | Event]]) -> Iterator[Operation]:
    """Yield an operation for each message that the service publishes."""
    for message in messages:
        facts = delivery.of_publishes(stream_of(message.subject), message)
        yield Operation(service, "publishes", message, message.__doc__, facts)


def requested(service: str, messages: Sequence[type[Request[Any]]]) -> Iterator[Operation]:
    """Yield an operation for each request that the service sends."""
    for message in messages:
        yield Operation(service, "requests", message, message.__doc__, delivery.of_requests())


def as_written(operations: Iterable[Operation]) -> dict[str, Any]:
    """Write the operations down, by their names."""
    pairs = [(each.id, _written(each)) for each in operations]
    if twice := [name for name, times in Counter(name for name, _ in pairs).items() if times > 1]:
        raise ValueError(f"two operations have the same name: {', '.join(twice)}")
    return named(pairs, "operations")


def _written(operation: Operation) -> dict[str, Any]:
    channel, name = operation.channel, operation.message.__name__
    written: dict[str, Any] = {
        "action": "send" if operation.role in _SENDING else "receive",
        "channel": ref("channels", channel),
        "title": f"{operation.service} {_PHRASES.get(operation.role, operation.role)} {title(operation.message)}",
        **described(operation.about),
        "tags": [{"name": operation.kind}],
        "messages": [ref("channels", channel, "messages", name)],
    }
    if operation.reply is not None:
        answers = [operation.reply.__name__, Problem.__name__]
        written["reply"] = {
            "address": {
                "location": "$message.header#/reply_to",
                "description": "The reply subject of the message itself, which clients of NATS set for every request.",
            },
            "channel": ref("channels", f"{channel}.reply"),
            "messages": [ref("channels", f"{channel}.reply", "messages", answer) for answer in answers],
        }
    return written | {"x-nats": {"role": operation.role, **operation.facts}}


def handled(subscriber: Any) -> Iterator[tuple[type[Any], Any]]:
    """Return the messages of the contracts that a subscriber's handlers take, and each one's handler."""
    for call in subscriber.calls:
        handler = call.handler._original_call  # noqa: SLF001 - FastStream says in no other way what was decorated
        hints = typing.get_type_hints(handler)
        first = next((hint for name, hint in hints.items() if name != "return"), None)
        union = typing.get_origin(first) in {Union, UnionType}
        messages = typing.get_args(first) if union else (first,)
        for message in messages:
            if not (isinstance(message, type) and issubclass(message, Request | Command | Event)):
                raise TypeError(f"{handler.__name__} takes {message!r}, which is no request, command or event")
            yield message, handler
