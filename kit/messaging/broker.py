"""The connection to NATS: it never gives up, it says what happens to it, and it lets go without dropping a request."""

import asyncio
import os
import re
import signal
from collections.abc import Iterable
from dataclasses import replace
from types import TracebackType
from typing import Any

from faststream._internal.endpoint.subscriber.mixins import ConcurrentMixin  # it has no public name
from faststream.nats import NatsBroker
from faststream.nats.subscriber.usecases import PullStreamSubscriber
from nats.aio.client import Client
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError
from structlog.stdlib import get_logger

from contracts.streams import Stream
from kit.messaging import streams as jetstreams
from kit.runtime.tasks import cancel_and_wait

log = get_logger(__name__)

_DRAIN_SECONDS = 10.0
_KEEP_SECONDS = 5.0
_CLOSE_SECONDS = 2.0
_IDLE_LOOKS = 3


class Broker(NatsBroker):
    """FastStream's broker with what a service in production needs of its connection.

    It reconnects for ever, and ends the process when that becomes impossible: a process that lives on, deaf, is worse
    than none. It makes the streams that the service needs before anything is subscribed, and again if NATS comes back
    without them. When it stops it first takes no more requests and then finishes those that it has: FastStream itself
    waits for the work in flight, and drops what arrives meanwhile.
    """

    def __init__(self, url: str, *, name: str, streams: Iterable[Stream] = (), replicas: int = 1) -> None:
        super().__init__(
            url.split(","),
            name=name,
            inbox_prefix=inbox_prefix(name),
            logger=None,
            max_reconnect_attempts=-1,  # the default gives up after two minutes
            reconnect_time_wait=1,
            ping_interval=5,  # a peer that hangs is found within 15 s, not in 6 minutes
            max_outstanding_pings=2,
            error_cb=self._failed,
            disconnected_cb=self._disconnected,
            reconnected_cb=self._reconnected,
            closed_cb=self._closed,
        )
        self._streams = tuple(streams)
        self._replicas = replicas
        self._leaving = False
        self._gone = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None

    @property
    def client(self) -> Client:
        """The connection itself, once it is connected."""
        client: Client = self.config.connection_state.connection
        return client

    @property
    def jetstream(self) -> JetStreamContext:
        """JetStream on this connection, once it is connected."""
        context: JetStreamContext = self.config.connection_state.stream
        return context

    def is_connected(self) -> bool:
        """Tell whether a message could be sent now; in memory that is always so."""
        # HTTP is served before the first connection is there.
        return bool(self.config.connection_state and self.client.is_connected)

    def server_id(self) -> str:
        """Return the name that the server has given itself; empty while there is no connection, and in memory."""
        if not self.is_connected() or self.config.connection_state is None:
            return ""
        return str(getattr(self.client, "_server_info", {}).get("server_id", ""))

    async def lost(self) -> None:
        """Return when the connection that is there now is lost."""
        await self._gone.wait()

    async def start(self) -> None:
        """Connect, make the streams, subscribe; waits for as long as NATS is away."""
        await self.connect()
        while True:
            try:
                await self._provision()
                break
            except NatsError as error:  # JetStream comes up later than the port does
                log.warning("the streams cannot be made yet", reason=str(error) or type(error).__name__)
                await asyncio.sleep(1)
        await super().start()
        self._keeper = asyncio.create_task(self._keep())

    async def check(self) -> None:
        """Make a round trip to the server and look at the streams; raises when something is not as it must be."""
        if not self.is_connected():
            raise RuntimeError("there is no connection to NATS")
        await self.client.flush(timeout=1)
        await jetstreams.check(self.jetstream, self._streams, self._replicas)
        for subscriber, durable in durables(self.subscribers):
            await jetstreams.check_consumer(self.jetstream, subscriber.stream.name, durable)

    async def stop(
        self,
        exc_type: type[BaseException] | None = None,
        exc_val: BaseException | None = None,
        exc_tb: TracebackType | None = None,
    ) -> None:
        """Take no more, finish what is there (at most 10 s), disconnect."""
        self._leaving = True
        if self._keeper is not None:
            await cancel_and_wait([self._keeper])
        try:
            if self._connection is not None and self._connection.is_connected:
                await self._drain()
            if self._connection is not None and not self._connection.is_connected:
                await self._forget()
            await super().stop(exc_type, exc_val, exc_tb)
        except* (NatsError, OSError) as gone:
            log.warning("NATS went first", reason=str(gone.exceptions[0]))

    async def _drain(self) -> None:
        try:
            async with asyncio.timeout(_DRAIN_SECONDS):
                await asyncio.gather(*(self._finish(subscriber) for subscriber in self.subscribers))
        except TimeoutError:
            log.warning("some requests were still unanswered", seconds=_DRAIN_SECONDS)
        except (NatsError, OSError) as error:
            log.warning("NATS went away before the last answers", reason=str(error) or type(error).__name__)

    async def _forget(self) -> None:
        """Let go of a connection that is not there: nats-py refuses to drain it, and to unsubscribe from it."""
        for subscriber in self.subscribers:
            subscriber.subscription = None  # type: ignore[attr-defined]
        # In a task of its own: it may fail, or cancel whoever awaits it, when it meets its own attempt to reconnect.
        closing = asyncio.create_task(self.client.close())
        await asyncio.wait([closing], timeout=_CLOSE_SECONDS)
        if closing.done() and not closing.cancelled():
            closing.exception()  # there is nothing left to do about it
        self._connection = None

    async def _finish(self, subscriber: Any) -> None:
        if isinstance(subscriber.subscription, Subscription):  # core requests; a stream keeps what is not acked
            await subscriber.subscription.drain()  # type: ignore[no-untyped-call]
            subscriber.subscription = None
        if isinstance(subscriber, PullStreamSubscriber):
            await cancel_and_wait(subscriber.tasks)  # each gives back what it has not handed out
        if isinstance(subscriber, ConcurrentMixin):
            # Taken off the connection and waiting for a worker: FastStream drops those. It has no event for their end,
            # and they need some turns of the loop from the connection to the worker.
            idle = 0
            while idle < _IDLE_LOOKS:
                await asyncio.sleep(0.01)
                idle = idle + 1 if _is_idle(subscriber) else 0

    async def _provision(self) -> None:
        await jetstreams.provision(self.jetstream, self._streams, self._replicas)

    async def _keep(self) -> None:
        """Make again what is lost when NATS comes back with an empty store: the client does not notice that."""
        while True:
            await asyncio.sleep(_KEEP_SECONDS)
            if not self.is_connected():
                continue
            try:
                await self._provision()
                for subscriber, durable in durables(self.subscribers):
                    await self._keep_consumer(subscriber, durable)
            except NatsError as error:
                log.warning("the streams cannot be checked", reason=str(error) or type(error).__name__)

    async def _keep_consumer(self, subscriber: Any, durable: str) -> None:
        try:
            await self.jetstream.consumer_info(subscriber.stream.name, durable)
        except NotFoundError:
            log.warning("a consumer is made again", stream=subscriber.stream.name, durable=durable)
            config = replace(subscriber.config, durable_name=durable, filter_subject=subscriber.subject.broker_address)
            await self.jetstream.add_consumer(subscriber.stream.name, config)

    async def _failed(self, error: Exception) -> None:
        log.warning("NATS", reason=str(error) or type(error).__name__)

    async def _disconnected(self) -> None:
        self._gone.set()
        if not self._leaving:
            log.warning("NATS is away")

    async def _reconnected(self) -> None:
        self._gone = asyncio.Event()
        log.info("NATS is back")

    async def _closed(self) -> None:
        if not self._leaving:
            log.critical("the connection to NATS is closed for good")
            os.kill(os.getpid(), signal.SIGTERM)


def inbox_prefix(service: str) -> str:
    """Return what the subjects begin with under which a service hears replies: its own, so that no other one can."""
    return f"_INBOX.{re.sub(r'[^A-Za-z0-9_-]+', '-', service)}"


def durables(subscribers: Iterable[Any]) -> list[tuple[Any, str]]:
    """Return those of a broker's or a router's subscribers that have a durable consumer, each with that one's name."""
    options = ((subscriber, getattr(subscriber, "extra_options", {})) for subscriber in subscribers)
    return [(subscriber, found["durable"]) for subscriber, found in options if found.get("durable")]


def _is_idle(subscriber: ConcurrentMixin[Any]) -> bool:
    queued = subscriber.receive_stream.statistics().current_buffer_used
    return not queued and subscriber.limiter.value == subscriber.max_workers
