"""All message classes of contracts/, found by inspection."""

import importlib
import inspect
from collections.abc import Iterator
from typing import Any

from contracts.base import Command, Event, Message, Request
from tests.architecture.sources import modules


def defined() -> Iterator[type]:
    """Yield every public class of contracts/."""
    for path in modules("contracts"):
        name = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
        for _, value in inspect.getmembers(importlib.import_module(name), inspect.isclass):
            # pydantic leaves each `Request[...]` there under that name.
            if value.__module__ == name and value.__name__.isidentifier() and not value.__name__.startswith("_"):
                yield value


BASES = frozenset({Message, Request, Command, Event})
MESSAGES: list[type[Message]] = [found for found in defined() if issubclass(found, Message) and found not in BASES]
REQUESTS: list[type[Request[Any]]] = [found for found in MESSAGES if issubclass(found, Request)]
COMMANDS: list[type[Command]] = [found for found in MESSAGES if issubclass(found, Command)]
EVENTS: list[type[Event]] = [found for found in MESSAGES if issubclass(found, Event)]
