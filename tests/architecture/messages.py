"""All message classes of contracts/."""

import importlib
import inspect
from collections.abc import Iterator
from typing import Any

from contracts.base import BatchItem, Command, CommandBatch, DurableCommand, Event, Message, Page, Request, State
from contracts.outbox import ListRefusedEvents, SettleRefusedEvent, requests_of
from mkstore.services import SERVICES
from tests.architecture.sources import modules


def defined() -> Iterator[type]:
    """Yield every public class of contracts/."""
    for path in modules("contracts"):
        name = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
        for _, value in inspect.getmembers(importlib.import_module(name), inspect.isclass):
            # pydantic adds each `Request[...]` to the module under that name.
            if value.__module__ == name and value.__name__.isidentifier() and not value.__name__.startswith("_"):
                yield value


BASES = frozenset(
    {Message, Page, Request, DurableCommand, Command, CommandBatch, BatchItem, Event, State}
    | {ListRefusedEvents, SettleRefusedEvent}  # each service with an outbox has subclasses
)
MESSAGES: list[type[Message]] = [each for each in defined() if issubclass(each, Message) and each not in BASES]
REQUESTS: list[type[Request[Any]]] = [each for each in MESSAGES if issubclass(each, Request)]
OUTBOX_REQUESTS: list[type[Request[Any]]] = [
    request for spec in SERVICES if spec.database for request in requests_of(spec.name)
]
"""The requests about refused events, which each service with an outbox has."""
COMMANDS: list[type[DurableCommand]] = [each for each in MESSAGES if issubclass(each, DurableCommand)]
EVENTS: list[type[Event]] = [each for each in MESSAGES if issubclass(each, Event)]
STATES: list[type[State]] = [each for each in MESSAGES if issubclass(each, State)]
