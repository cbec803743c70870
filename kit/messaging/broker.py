"""The connection to NATS: reconnects forever, logs its state, and drains requests before it closes."""

import asyncio
import os
import re
import signal
import time
from collections.abc import Iterable
from types import TracebackType
from typing import Any

from faststream.nats import NatsBroker
from faststream.nats.subscriber.usecases import PullStreamSubscriber
from nats.aio.client import Client
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig
from structlog.stdlib import get_logger

from contracts.logins import JETSTREAM_API, inbox_prefix
from contracts.streams import Stream
from kit.messaging import nats_compat
from kit.messaging import streams as jetstreams
from kit.messaging.faststream_compat import finish_work
from kit.messaging.losses import LOSSES, IsolationWatch, Losses, another_server, require_quorum
from kit.messaging.subscriptions import StreamSubscription
from kit.runtime.client_security import ClientSecurity, LoginRefused
from kit.runtime.tasks import cancel_and_wait, run_until_first_done
from kit.runtime.tls import TlsFailed

log = get_logger(__name__)

PING_INTERVAL = 1
_MAX_OUTSTANDING_PINGS = 3
"""A server that does not reply to three pings is noticed within 4 s, and none that replies within 3 s is dropped."""
_DRAIN_TIMEOUT = 10.0
_CLOSE_TIMEOUT = 2
_DENIED = re.compile(r'permissions violation for publish to "([^"]+)"', re.IGNORECASE)
_MAX_DENIED = 1000


class Broker(NatsBroker):
    """FastStream's broker with production behaviour.

    It reconnects forever, and terminates the process if the connection is closed for good: a process that runs on
    without NATS is worse than none. At the start a refused login raises `LoginRefused`, and failed TLS `TlsRefused`. It
    changes no stream and no consumer, since its login must not (ADR 29): `check` says which one is missing or wrong,
    and once an operator has provisioned it, messages flow without a restart. On stop it unsubscribes first and then
    finishes the requests that it has received: FastStream alone waits for those in progress and drops those that are
    queued.
    """

    def __init__(
        self,
        url: str,
        *,
        name: str,
        security: ClientSecurity | None = None,
        streams: Iterable[Stream] = (),
        replicas: int = 1,
        api_prefix: str = JETSTREAM_API,
    ) -> None:
        super().__init__(
            url.split(","),
            name=name,
            inbox_prefix=inbox_prefix(name),
            js_options={"prefix": api_prefix},
            logger=None,
            max_reconnect_attempts=-1,  # the default gives up after two minutes
            reconnect_time_wait=1,
            reconnect_to_server_handler=another_server if "," in url else None,
            ping_interval=PING_INTERVAL,
            max_outstanding_pings=_MAX_OUTSTANDING_PINGS,
            drain_timeout=_CLOSE_TIMEOUT,  # after `stop` has finished the requests; the default is 30
            error_cb=self._failed,
            disconnected_cb=self._disconnected,
            reconnected_cb=self._reconnected,
            closed_cb=self._closed,
        )
        self._security = security or ClientSecurity()
        self._addresses = ", ".join(each.rpartition("@")[2] for each in url.split(",")) + " (NATS_URL)"
        self._streams = tuple(streams)
        self._replicas = replicas
        self._stopping = False
        self._lost = asyncio.Event()
        self._losses = Losses()
        self._name = name
        self._servers = [server.strip() for server in url.split(",")]
        self._api_prefix = api_prefix
        self._isolation: IsolationWatch | None = None
        self._denied: dict[str, float] = {}

    @property
    def client(self) -> Client:
        """The nats-py client; available after `connect`."""
        client: Client = self.config.connection_state.connection
        return client

    @property
    def jetstream(self) -> JetStreamContext:
        """JetStream on this connection; available after `connect`."""
        context: JetStreamContext = self.config.connection_state.stream
        return context

    def is_connected(self) -> bool:
        """Return whether messages can be published now; always true with `TestNatsBroker`."""
        # HTTP is served before the first connection is made.
        return bool(self.config.connection_state and self.client.is_connected)

    def server_id(self) -> str:
        """Return the id of the connected server; empty without a connection and with `TestNatsBroker`."""
        if not self.is_connected() or self.config.connection_state is None:
            return ""
        return nats_compat.server_id(self.client)

    def denied_since(self, subject: str, moment: float) -> bool:
        """Return whether NATS has denied publishing `subject` since `moment`, in seconds of `time.monotonic`.

        A denied request gets no reply: it looks like one to a server that is away.
        """
        return self._denied.get(subject.lower(), 0.0) >= moment

    async def wait_disconnected(self) -> None:
        """Wait until the current connection is lost."""
        await self._lost.wait()

    async def _connect(self) -> Client:
        client = nats_compat.SecureClient(self._security)
        try:
            await client.connect(**self._connection_kwargs)
        except NatsError as error:
            if "authorization violation" in str(error).lower():
                raise LoginRefused(in_file=bool(self._security.creds)) from error
            raise
        self.config.connect(client)
        return client

    async def start(self) -> None:
        """Connect and subscribe; wait until NATS is available. Streams and consumers may come later."""
        self.context.set_global(LOSSES, self._losses)
        await super().start()
        try:
            await self.check()
        except (RuntimeError, NatsError) as error:
            log.warning("NATS is not ready for this service", reason=str(error) or type(error).__name__)
        if len(self._servers) > 1 and self._streams:
            self._isolation = IsolationWatch(self.client, self._servers, self._probe, self._connect_to)
            await self._isolation.start()
        for subscriber in self.subscribers:
            if isinstance(subscriber.subscription, StreamSubscription):  # type: ignore[attr-defined]
                await subscriber.subscription.wait_started()  # type: ignore[attr-defined]

    async def _probe(self, client: Client) -> None:
        jetstream = client.jetstream(prefix=self._api_prefix)
        for info in await asyncio.gather(*(jetstream.stream_info(stream.name) for stream in self._streams)):
            require_quorum(info)

    async def _connect_to(self, server: str) -> Client:
        client = nats_compat.SecureClient(self._security)
        await client.connect(
            server,
            name=f"{self._name} probe",
            inbox_prefix=inbox_prefix(self._name),
            allow_reconnect=False,
            max_reconnect_attempts=1,
            error_cb=_ignore,
        )
        return client

    async def check(self) -> None:
        """Check the connection, the streams and the durable consumers. Raises `RuntimeError` or nats-py's error."""
        if not self.is_connected():
            raise RuntimeError("NATS is disconnected")
        await self.client.flush(timeout=1)
        await self.check_streams(self._streams)
        for stream, wanted in durables(self.subscribers):
            await jetstreams.check_consumer(self.jetstream, stream, wanted)

    async def check_streams(self, streams: Iterable[Stream]) -> None:
        """Check that these streams exist with the right configuration. Raises `RuntimeError` or nats-py's error."""
        await jetstreams.check(self.jetstream, streams, self._replicas)

    async def stop(
        self,
        exc_type: type[BaseException] | None = None,
        exc_val: BaseException | None = None,
        exc_tb: TracebackType | None = None,
    ) -> None:
        """Unsubscribe, finish the received requests (at most 10 s) and disconnect."""
        self._stopping = True
        if self._isolation:
            await self._isolation.stop()
        try:
            if self._connection is not None and self._connection.is_connected:
                await self._drain()
            if self._connection is not None and not await self._responds():
                await self._discard_connection()
            await super().stop(exc_type, exc_val, exc_tb)
        except* (NatsError, OSError) as errors:
            log.warning("connection lost while stopping", reason=str(errors.exceptions[0]))

    async def _drain(self) -> None:
        try:
            async with asyncio.timeout(_DRAIN_TIMEOUT):
                await asyncio.gather(*(self._finish(subscriber) for subscriber in self.subscribers))
        except TimeoutError:
            log.warning("requests left without a reply", timeout=_DRAIN_TIMEOUT)
        except (NatsError, OSError) as error:
            log.warning("connection lost before the last replies", reason=str(error) or type(error).__name__)

    async def _responds(self) -> bool:
        """Return whether the server responds. nats-py's `drain` assumes it, and the end of a server is noticed late."""
        if self.client.is_connected:
            try:
                await run_until_first_done(self.client.flush(_CLOSE_TIMEOUT), self.wait_disconnected())
            except (NatsError, OSError, TypeError):  # TypeError: a transport that has closed (cpython issue 136234)
                return False
        return self.client.is_connected

    async def _discard_connection(self) -> None:
        """Drop a lost connection: nats-py refuses to drain it or to unsubscribe from it."""
        for subscriber in self.subscribers:
            if not isinstance(subscriber.subscription, StreamSubscription):  # type: ignore[attr-defined]
                subscriber.subscription = None  # type: ignore[attr-defined]
        # In a separate task: closing may fail, or cancel its caller, if it meets the client's own attempt to reconnect.
        closing = asyncio.create_task(self.client.close())
        await asyncio.wait([closing], timeout=_CLOSE_TIMEOUT)
        if closing.done() and not closing.cancelled():
            closing.exception()  # retrieved, so that asyncio does not log it
        self._connection = None

    async def _finish(self, subscriber: Any) -> None:
        if isinstance(subscriber.subscription, Subscription):  # streams keep unacknowledged messages
            # Without the connection no PONG follows, and nats-py would wait for it until its timeout.
            await run_until_first_done(nats_compat.drain(subscriber.subscription), self.wait_disconnected())
            subscriber.subscription = None
        if isinstance(subscriber, PullStreamSubscriber):
            await cancel_and_wait(subscriber.tasks)  # each returns the messages that it has not handed out
        await finish_work(subscriber)

    async def _failed(self, error: Exception) -> None:
        if denied := _DENIED.search(str(error)):
            if len(self._denied) >= _MAX_DENIED:
                self._denied.clear()
            self._denied[denied[1].lower()] = time.monotonic()  # nats-py reports it in lower case
        reason = str(error) or type(error).__name__
        # The system's text about a connection names neither host nor port.
        where = {"servers": self._addresses} if isinstance(error, OSError) and not isinstance(error, TlsFailed) else {}
        log.warning("NATS error", reason=reason, **where)

    async def _disconnected(self) -> None:
        self._lost.set()
        await self._losses.occurred()
        if not self._stopping:
            log.warning("connection lost")

    async def _reconnected(self) -> None:
        self._lost = asyncio.Event()
        log.info("connection restored")

    async def _closed(self) -> None:
        if not self._stopping:
            log.critical("connection closed for good")
            os.kill(os.getpid(), signal.SIGTERM)


async def _ignore(error: Exception) -> None:
    """Drop an error of a probe: that it fails is its result."""


def durables(subscribers: Iterable[Any]) -> list[tuple[str, ConsumerConfig]]:
    """Return the stream and the configuration of each durable consumer that one of the subscribers uses."""
    return [
        (subscriber.stream.name, subscriber.config)
        for subscriber in subscribers
        if getattr(subscriber, "extra_options", {}).get("durable")
    ]
