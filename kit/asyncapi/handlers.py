"""Records of the handlers that the routers of `kit.messaging` register."""

import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import UnionType
from typing import Any, Literal, Union

from contracts.base import DurableCommand, Event, Request, State


@dataclass(frozen=True)
class Handled:
    """A message that a service handles, and how it is received."""

    role: Literal["replies", "consumes", "subscribes"]
    message: Any
    handler: Callable[..., Any]
    subscriber: Any
    """FastStream's subscriber."""
    queue: str = ""
    """The queue group of a request."""
    durable: str = ""
    """The name of the durable consumer in its contract, without that of a shard."""
    documented: bool = True
    """Whether the document has it; not what only exists with several shards."""


def handled_by(registrator: Any) -> Iterator[Handled]:
    """Yield the records of a broker's routers, or of one router.

    Raises `TypeError` if a subscriber was registered without a router verb: the document would not contain it.
    """
    recorded = [each for router in (registrator, *registrator.routers) for each in getattr(router, "handled", ())]
    subscribers = [each.subscriber for each in recorded]
    for subscriber in registrator.subscribers:
        if subscriber not in subscribers:
            raise TypeError(f"the subscriber of {subscriber.subject.template} was not registered by a router verb")
    yield from recorded


def messages_of(handler: Callable[..., Any]) -> tuple[Any, ...]:
    """Return the messages in the annotation of a handler's first parameter: one, or the members of a union.

    Raises `TypeError` if one of them is not a message of the contracts.
    """
    hints = typing.get_type_hints(handler)
    first = next((hint for name, hint in hints.items() if name != "return"), None)
    is_union = typing.get_origin(first) in {Union, UnionType}
    messages = typing.get_args(first) if is_union else (first,)
    for message in messages:
        if not (isinstance(message, type) and issubclass(message, Request | DurableCommand | Event | State)):
            raise TypeError(f"{handler.__name__} handles {message!r}, which is not a request, command, event or state")
    return messages
