"""What a service does with messages: one operation for each role that it has towards one."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydantic import BaseModel

from contracts.base import Command, Event, Request
from contracts.dead_letters import DeadLetter
from contracts.errors import Problem
from contracts.streams import DEAD_LETTERS, Stream, stream_of
from kit.asyncapi import delivery
from kit.asyncapi.handlers import Handled
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


def received(service: str, handled: Iterable[Handled]) -> Iterator[Operation]:
    """Yield an operation for each message that the service handles, and one for the messages that it dead-letters."""
    dead_letters = False
    for each in handled:
        yield Operation(service, each.role, each.message, each.handler.__doc__, _facts(each))
        dead_letters = dead_letters or each.role == "consumes"
    if dead_letters:
        about = "Keep messages that could not be handled until an operator replays or discards them."
        yield Operation(service, "dead-letters", DeadLetter, about, delivery.of_dead_letters(DEAD_LETTERS))


def _facts(handled: Handled) -> Mapping[str, Any]:
    if handled.role == "replies":
        return delivery.of_replies(handled.queue)
    stream = stream_of(handled.message.subject)
    if handled.role == "consumes":
        return delivery.of_consumes(handled, stream)
    return delivery.of_subscribes(stream)


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
                "description": "The reply subject of the message, which NATS clients set for every request.",
            },
            "channel": ref("channels", f"{channel}.reply"),
            "messages": [ref("channels", f"{channel}.reply", "messages", answer) for answer in answers],
        }
    return written | {"x-nats": {"role": operation.role, **operation.facts}}
