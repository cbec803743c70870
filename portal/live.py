"""Live figures of the whole system: streams, consumers, service processes and the last messages."""

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Protocol

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import RawStreamMsg
from nats.js.errors import NotFoundError
from pydantic import BaseModel
from structlog.stdlib import get_logger

from contracts.logins import JETSTREAM_API, WATCHER, inbox_prefix
from contracts.streams import Stream
from kit.errors import NATS, Unavailable
from kit.messaging.discovery import request_all
from kit.messaging.nats_compat import SecureClient
from kit.runtime.client_security import ClientSecurity, TlsRefused

log = get_logger(__name__)

_LAST_MESSAGES = 5
"""Number of messages shown of each stream."""
_DISCOVERY_TIMEOUT = 1.5
"""Seconds to wait for replies of service processes."""
_DISCOVERY_IDLE_TIMEOUT = 0.3
"""Seconds to wait for the next process after the last reply."""
_CONNECT_TIMEOUT = 2.0


class ConsumerSnapshot(BaseModel):
    """A durable consumer: numbers of pending, unacknowledged and redelivered messages."""

    name: str
    pending: int
    unacknowledged: int
    redelivered: int


class MessageSnapshot(BaseModel):
    """A message in a stream; `body` has types in place of values unless the operator enables payloads."""

    sequence: int
    subject: str
    at: str
    body: Any


class StreamSnapshot(BaseModel):
    """A stream: its size now, and the sequence of its last message, from which clients compute rates."""

    name: str
    messages: int
    bytes: int
    last_sequence: int
    consumers: list[ConsumerSnapshot]
    last: list[MessageSnapshot]


class ProcessSnapshot(BaseModel):
    """A process of a service: requests and errors since its start, and mean milliseconds per request (NATS ADR-32)."""

    service: str
    id: str
    requests: int
    errors: int
    milliseconds: float


class Snapshot(BaseModel):
    """The state of the system at one moment."""

    at: datetime
    streams: list[StreamSnapshot]
    processes: list[ProcessSnapshot]


class Monitor(Protocol):
    """A source of snapshots."""

    async def snapshot(self) -> Snapshot:
        """Return the state of the system now. Raises `Unavailable` if it cannot be read."""


class SystemMonitor:
    """Takes snapshots over a separate connection, with the login `watcher`, or one that may do more.

    It connects at the first snapshot. A snapshot is shared by all callers for `max_age` seconds.
    """

    def __init__(
        self,
        url: str,
        streams: Sequence[Stream],
        *,
        bodies: bool,
        security: ClientSecurity | None = None,
        api_prefix: str = JETSTREAM_API,
        max_age: float = 1.0,
    ) -> None:
        self._url = url
        self._api_prefix = api_prefix
        self._security = security
        self._streams = streams
        self._bodies = bodies
        self._max_age = max_age
        self._client: Client | None = None
        self._current: asyncio.Task[Snapshot] | None = None
        self._started_at = 0.0

    async def snapshot(self) -> Snapshot:
        """Return the state of the system. Raises `Unavailable` if NATS cannot be reached or does not reply."""
        now = asyncio.get_running_loop().time()
        if self._current is None or (self._current.done() and now - self._started_at > self._max_age):
            self._started_at = now
            self._current = asyncio.create_task(self._take_snapshot())
        try:
            return await asyncio.shield(self._current)
        except (NatsError, OSError, TlsRefused) as error:
            raise Unavailable(NATS) from error

    async def close(self) -> None:
        """Close the connection."""
        client, self._client = self._client, None
        if client is not None:
            with suppress(NatsError, OSError):
                await client.close()

    async def _take_snapshot(self) -> Snapshot:
        client = await self._connected()
        jetstream = client.jetstream(prefix=self._api_prefix)
        streams = [await self._stream(jetstream, stream) for stream in self._streams]
        return Snapshot(at=datetime.now(UTC), streams=streams, processes=await _processes(client))

    async def _connected(self) -> Client:
        if self._client is not None and self._client.is_connected:
            return self._client
        await self.close()
        client = SecureClient(self._security)
        async with asyncio.timeout(_CONNECT_TIMEOUT):  # nats-py alone retries for two minutes
            # No reconnection in the background: the next snapshot connects again.
            await client.connect(
                self._url.split(","),
                name="live figures",
                inbox_prefix=inbox_prefix(WATCHER),
                allow_reconnect=False,
                error_cb=_log_error,
            )
        self._client = client
        return client

    async def _stream(self, jetstream: JetStreamContext, stream: Stream) -> StreamSnapshot:
        try:
            state = (await jetstream.stream_info(stream.name)).state
            consumers = await jetstream.consumers_info(stream.name)
        except NotFoundError:
            return StreamSnapshot(name=stream.name, messages=0, bytes=0, last_sequence=0, consumers=[], last=[])
        # Not by direct gets: JetStream executes their answers as requests if the reader names such a subject (ADR 29).
        sequences = range(max(1, state.first_seq, state.last_seq - _LAST_MESSAGES + 1), state.last_seq + 1)
        last = await asyncio.gather(*(_message_at(jetstream, stream, sequence) for sequence in sequences))
        return StreamSnapshot(
            name=stream.name,
            messages=state.messages,
            bytes=state.bytes,
            last_sequence=state.last_seq,
            consumers=[
                ConsumerSnapshot(
                    name=consumer.name,
                    pending=consumer.num_pending or 0,
                    unacknowledged=consumer.num_ack_pending or 0,
                    redelivered=consumer.num_redelivered or 0,
                )
                for consumer in consumers
                if consumer.config.durable_name
            ],
            last=[self._message(message) for message in last if message is not None],
        )

    def _message(self, message: RawStreamMsg) -> MessageSnapshot:
        try:
            body = json.loads(message.data or b"")
        except ValueError:
            body = None
        return MessageSnapshot(
            sequence=message.seq or 0,
            subject=message.subject or "",
            at=message.time.isoformat() if message.time else "",
            body=body if self._bodies else redacted(body),
        )


async def _message_at(jetstream: JetStreamContext, stream: Stream, sequence: int) -> RawStreamMsg | None:
    """Return a message; None if the stream has removed it meanwhile."""
    try:
        return await jetstream.get_msg(stream.name, sequence)
    except NotFoundError:
        return None


async def _processes(client: Client) -> list[ProcessSnapshot]:
    replies = await request_all(client, "STATS", timeout=_DISCOVERY_TIMEOUT, idle_timeout=_DISCOVERY_IDLE_TIMEOUT)
    return sorted(map(_process, replies), key=lambda process: (process.service, process.id))


def redacted(body: Any) -> Any:
    """Return a JSON body with the type name in place of each value; of a list, only its first item."""
    if isinstance(body, dict):
        return {name: redacted(value) for name, value in body.items()}
    if isinstance(body, list):
        return [redacted(value) for value in body[:1]]
    names: dict[type, str] = {str: "string", bool: "boolean", int: "number", float: "number"}
    return None if body is None else names.get(type(body), "value")


def _process(stats: dict[str, Any]) -> ProcessSnapshot:
    endpoints = stats.get("endpoints") or []
    requests = sum(endpoint["num_requests"] for endpoint in endpoints)
    nanoseconds = sum(endpoint["processing_time"] for endpoint in endpoints)
    return ProcessSnapshot(
        service=stats["name"],
        id=stats["id"],
        requests=requests,
        errors=sum(endpoint["num_errors"] for endpoint in endpoints),
        milliseconds=round(nanoseconds / requests / 1e6, 3) if requests else 0.0,
    )


async def _log_error(error: Exception) -> None:
    log.debug("live figures connection failed", reason=str(error) or type(error).__name__)
