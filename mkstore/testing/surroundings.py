"""What a service in memory is built with, and what it gives back."""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from kit.messaging.broker import Broker
from kit.messaging.delivery.crash_guard import CRASH_GUARD
from kit.runtime.app import ServiceApp
from mkstore.testing.broker import MemoryBroker
from mkstore.testing.clock import MovableClock
from mkstore.testing.outbox import MemoryOutbox
from mkstore.testing.streams import MemoryStreams


@dataclass(frozen=True)
class Surroundings:
    """What every service of a store in memory shares."""

    broker: MemoryBroker
    """The broker of the gateway and of the test."""
    streams: MemoryStreams
    outbox: MemoryOutbox
    clock: MovableClock
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the service that is built, which replace those of the environment."""


@dataclass(frozen=True)
class ServiceInMemory:
    """A service that is built and not started."""

    broker: Broker
    data: Any = None
    """Its database in memory, for tests that look at it or break it."""
    app: ServiceApp | None = None
    running: Callable[[], AbstractAsyncContextManager[None]] = nullcontext
    """What runs beside the handlers; entered when all services have joined."""


BuildService = Callable[[Surroundings], ServiceInMemory]
"""Builds a service with fakes; the modules of `mkstore.testing.services` have one each, called `build`."""


def with_handlers(
    app: ServiceApp,
    data: Any = None,
    running: Callable[[], AbstractAsyncContextManager[None]] = nullcontext,
) -> ServiceInMemory:
    """Return a service whose `create_app` got fakes; `data` and `running` are those of `ServiceInMemory`.

    Messages that kill their process are not counted: that needs a database, and tests in memory are one process.
    """
    if not isinstance(app.broker, Broker):
        raise TypeError("the app has no broker of kit.messaging")
    app.context.set_global(CRASH_GUARD, None)
    return ServiceInMemory(app.broker, data, app, running)
