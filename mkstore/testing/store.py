"""The whole store in memory, for tests of a service together with all others."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from threading import Lock
from typing import Any, TypeVar
from uuid import UUID

from faststream.nats import TestNatsBroker
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from contracts.base import Event, Reply, Request
from contracts.shards import Shards
from contracts.streams import is_sharded, stream_of
from kit.errors import CannotStart
from kit.messaging.client import RequestClient
from kit.messaging.dead_letters import DeadLetterRecord
from kit.runtime.logging import configure_logging
from kit.runtime.tasks import cancel_and_wait
from mkstore.services import SERVICES
from mkstore.testing import services as modules
from mkstore.testing.broker import MemoryBroker
from mkstore.testing.clock import MovableClock
from mkstore.testing.event_stream import EventStream, open_event_stream
from mkstore.testing.outbox import MemoryOutbox
from mkstore.testing.polling import eventually
from mkstore.testing.records import AnyMessage, Consumption, Records, Selector, name_of
from mkstore.testing.signed_in import SignedInUser, StoreClient, client_of
from mkstore.testing.streams import MemoryStreams
from mkstore.testing.surroundings import BuildService, ServiceInMemory, Surroundings

Found = TypeVar("Found")
TIMEOUT = 5.0
"""Seconds until an expectation fails."""


_one_store = Lock()


class ServiceNotFound(CannotStart):
    """A service of the project that cannot run in memory."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"The service {name} has no fakes: write mkstore/testing/services/{name}.py with a function `build` "
            f"(docs/testing.md), or leave the service out with `in_memory(services=[...])`."
        )


class StoreRuns(RuntimeError):
    """A second store in memory."""

    def __init__(self) -> None:
        super().__init__("this process runs a store in memory already: use it, or end it first")


@dataclass
class MemoryStore(StoreClient):
    """A running store in memory: HTTP, requests, and what its services publish, consume and dead-letter.

    `http` calls the gateway's `app`; if it does not run, every response has the status 501. `broker`, `streams`,
    `outbox` and `services` are the parts, for tests that need more than the methods.

    Expectations wait: `published`, `consumed` and `dead_lettered` return as soon as there are `count` results, and
    raise `AssertionError` with what there is instead after `timeout` seconds. To show that something does not happen,
    call `settled` first, and then an expectation with the count 0.
    """

    broker: MemoryBroker
    app: ASGIApp
    streams: MemoryStreams
    outbox: MemoryOutbox
    clock: MovableClock
    services: Mapping[str, ServiceInMemory]

    def __post_init__(self) -> None:
        self._records = Records(self.streams)

    def events(self, user: SignedInUser, last_id: str | None = None) -> AbstractAsyncContextManager[EventStream]:
        """Open `GET /events` of a user until the block ends, with a `Last-Event-ID` if it is given."""
        return open_event_stream(self.app, user.token, last_id)

    async def request(self, request: Request[Reply]) -> Reply:
        """Send a request to a service. Raises what `RequestClient.request` raises."""
        return await RequestClient(self.broker).request(request)

    async def publish(self, event: Event, *, event_id: UUID | None = None) -> None:
        """Publish an event as the relay of its service does; a second one with the same id is a repetition.

        JetStream drops a repetition within two minutes; move the clock on to have it delivered once more.
        """
        service = stream_of(event.subject).owner or ""
        headers = self.outbox.headers(event, service, event_id=event_id)
        await self.streams.publish(event.subject, event.model_dump_json().encode(), headers)

    async def publish_raw(self, subject: str, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        """Publish any message, such as an invalid one. Raises `KeyError` if no stream has the subject."""
        await self.streams.publish(subject, body, headers or {})

    async def published(
        self,
        contract: type[AnyMessage],
        count: int = 1,
        *,
        aggregate_id: UUID | str | None = None,
        timeout: float = TIMEOUT,  # noqa: ASYNC109 - it fails with a description of what was published
    ) -> list[AnyMessage]:
        """Return all events of a class that were published, once there are at least `count`.

        With `aggregate_id` only those of one user, payment and so on. Commands and states can be asked for, too.
        """
        wanted = UUID(aggregate_id) if isinstance(aggregate_id, str) else aggregate_id
        found = partial(self._records.published, contract, wanted)
        return await _expect(name_of(contract), count, found, self._records.list_published, timeout)

    async def consumed(
        self,
        selector: Selector,
        count: int = 1,
        *,
        timeout: float = TIMEOUT,  # noqa: ASYNC109 - it fails with a description of what was delivered
    ) -> list[Consumption]:
        """Return what a durable consumer, or all consumers of a class, have handled or dead-lettered, once `count` are.

        What still waits for an attempt is not returned.
        """

        def ended() -> list[Consumption]:
            return [each for each in self._records.consumed(selector) if each.outcome != "waiting"]

        return await _expect(name_of(selector), count, ended, self._records.list_consumed, timeout)

    async def dead_lettered(
        self,
        selector: Selector,
        count: int = 1,
        *,
        reason: str = "",
        timeout: float = TIMEOUT,  # noqa: ASYNC109 - it fails with a description of the dead letters
    ) -> list[DeadLetterRecord]:
        """Return the dead letters of a durable consumer, or of a class, once there are at least `count`.

        `reason` is the name of the error. A failed command of a batch is a dead letter of the single command.
        """
        found = partial(self._records.dead_lettered, selector, reason)
        wanted = f"{name_of(selector)} ({reason})" if reason else name_of(selector)
        return await _expect(wanted, count, found, self._records.list_dead_lettered, timeout)

    @contextmanager
    def away(self, service: str) -> Iterator[None]:
        """Let a service not run until the block ends: requests to it have no responder, and its messages wait."""
        self.broker.away.add(service)
        try:
            with self.held(service):
                yield
        finally:
            self.broker.away.discard(service)

    @contextmanager
    def held(self, service: str) -> Iterator[None]:
        """Deliver nothing to the durable consumers of a service until the block ends; it replies to requests."""
        self.streams.hold(service)
        try:
            yield
        finally:
            self.streams.release(service)

    async def settled(self, timeout: float = TIMEOUT) -> None:  # noqa: ASYNC109 - it fails with what is unfinished
        """Wait until every event is published and every message is handled or dead-lettered."""
        await eventually(
            lambda: self.outbox.is_idle and self.streams.is_idle,
            timeout=timeout,
            describe=self._records.list_consumed,
        )


async def _expect(
    wanted: str, count: int, found: Callable[[], list[Found]], describe: Callable[[], str], seconds: float
) -> list[Found]:
    await eventually(
        lambda: len(found()) >= count,
        timeout=seconds,
        describe=lambda: f"expected at least {count} of {wanted}, found {len(found())}.\n{describe()}",
    )
    return found()


@asynccontextmanager
async def in_memory(
    *,
    services: Iterable[str] | None = None,
    others: Mapping[str, BuildService] | None = None,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    shards: int = 1,
) -> AsyncIterator[MemoryStore]:
    """Run services in memory until the block ends: every handler and every HTTP route, without a server.

    `services` are names of the project's services, by default all of them. `others` are further services by name, such
    as one that is not written completely. `settings` replace those of the environment, by service. With several
    `shards` the payments service runs once for each, called `payments-0of2` and so on.

    Raises `ServiceNotFound` for a service without fakes, and `StoreRuns` if this process has a running store: the
    routers of the services belong to one broker at a time.
    """
    if not _one_store.acquire(blocking=False):
        raise StoreRuns
    try:
        async with _running(services, others or {}, settings or {}, Shards(shards)) as store:
            yield store
    finally:
        _one_store.release()


@asynccontextmanager
async def _running(
    services: Iterable[str] | None,
    others: Mapping[str, BuildService],
    settings: Mapping[str, Mapping[str, Any]],
    shards: Shards,
) -> AsyncIterator[MemoryStore]:
    configure_logging("INFO", "console")  # structlog's default takes seconds to render a traceback
    clock = MovableClock()
    streams = MemoryStreams(clock)
    outbox = MemoryOutbox(streams, clock)
    around = Surroundings(MemoryBroker(), streams, outbox, clock)
    names = [spec.name for spec in SERVICES] if services is None else services
    built: dict[str, ServiceInMemory] = {}
    for name, build in {**{name: _build_of(name) for name in names}, **others}.items():
        for process, of_shard in _processes(name, shards):
            built[process] = build(replace(around, settings={**of_shard, **settings.get(name, {})}))
    brokers = list(dict.fromkeys([around.broker, *(each.broker for each in built.values())]))
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(TestNatsBroker(*brokers))
        for broker in brokers:
            streams.join(broker)
        stack.push_async_callback(streams.close)
        relay = asyncio.create_task(outbox.relay())
        stack.push_async_callback(cancel_and_wait, [relay])
        # The gateway, which is last among the services, starts first: it must not miss the first public keys.
        for each in reversed(built.values()):
            await stack.enter_async_context(each.running())
        gateway = built.get("gateway")
        app: ASGIApp = gateway.app if gateway and gateway.app else _no_gateway
        http = await stack.enter_async_context(client_of(app))
        yield MemoryStore(http, around.broker, app, streams, outbox, clock, built)


def _processes(service: str, shards: Shards) -> Iterator[tuple[str, dict[str, int]]]:
    """Yield the name and the settings of each process of a service."""
    if shards.count == 1 or not is_sharded(f"{service}.*"):
        yield service, {} if shards.count == 1 else {"shards": shards.count}
        return
    for shard in shards.all:
        yield shard.suffixed(service, "-"), {"shard": shard.number, "shards": shard.count}


async def _no_gateway(scope: Scope, receive: Receive, send: Send) -> None:
    response = PlainTextResponse("The gateway does not run in this store.", 501)
    await response(scope, receive, send)


def _build_of(service: str) -> BuildService:
    name = f"{modules.__name__}.{service}"
    if find_spec(name) is None:
        raise ServiceNotFound(service)
    build: BuildService = import_module(name).build
    return build
