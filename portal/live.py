"""Looking at everything that goes on in a system at once: streams, consumers, processes, and what was said last."""

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError
from pydantic import BaseModel
from structlog.stdlib import get_logger

from contracts.streams import Stream
from kit.errors import NATS, Unavailable
from kit.messaging.discovery import request_all
from kit.messaging.reader import Read, stream_reader

log = get_logger(__name__)

_LAST = 5
"""So many messages of each stream are shown."""
_LONGEST_SECONDS, _QUIET_SECONDS = 1.5, 0.3
"""How long processes are waited for: in all, and after one that answered."""
_CONNECT_SECONDS = 2


class ConsumerSnapshot(BaseModel):
    """A durable consumer: what waits for it, what it has and did not acknowledge, and what came to it again."""

    name: str
    waiting: int
    unacknowledged: int
    again: int


class MessageSnapshot(BaseModel):
    """A message that a stream keeps; of its body the names and types, unless whoever runs this wants all of it seen."""

    sequence: int
    subject: str
    at: str
    body: Any


class StreamSnapshot(BaseModel):
    """A stream: what it keeps, and how much ever came into it, from which rates are told."""

    name: str
    messages: int
    bytes: int
    last_sequence: int
    consumers: list[ConsumerSnapshot]
    last: list[MessageSnapshot]


class ProcessSnapshot(BaseModel):
    """A process of a service, and what it was asked since it began (NATS ADR-32, STATS)."""

    service: str
    id: str
    requests: int
    errors: int
    milliseconds: float


class Snapshot(BaseModel):
    """All of it, at one moment."""

    at: datetime
    streams: list[StreamSnapshot]
    processes: list[ProcessSnapshot]


class SystemMonitor:
    """Looks with a login that may see everything, over a connection of its own.

    That is made when somebody looks for the first time. Who looks within `fresh` seconds of another one sees the same.
    """

    def __init__(self, url: str, streams: Sequence[Stream], *, bodies: bool, fresh: float = 1.0) -> None:
        self._url = url
        self._streams = streams
        self._bodies = bodies
        self._fresh = fresh
        self._client: Client | None = None
        self._looking: asyncio.Task[Snapshot] | None = None
        self._looked_at = 0.0

    async def look(self) -> Snapshot:
        """Return what there is now; raises `Unavailable` when NATS does not tell."""
        now = asyncio.get_running_loop().time()
        if self._looking is None or (self._looking.done() and now - self._looked_at > self._fresh):
            self._looked_at = now
            self._looking = asyncio.create_task(self._look())
        try:
            return await asyncio.shield(self._looking)
        except (NatsError, OSError) as error:
            raise Unavailable(NATS) from error

    async def close(self) -> None:
        """Let go of the connection."""
        client, self._client = self._client, None
        if client is not None:
            with suppress(NatsError, OSError):
                await client.close()

    async def _look(self) -> Snapshot:
        client = await self._connected()
        jetstream = client.jetstream()
        async with stream_reader(client) as read:
            streams = [await self._stream(jetstream, stream, read) for stream in self._streams]
        return Snapshot(at=datetime.now(UTC), streams=streams, processes=await _processes(client))

    async def _connected(self) -> Client:
        if self._client is not None and self._client.is_connected:
            return self._client
        await self.close()
        client = Client()
        async with asyncio.timeout(_CONNECT_SECONDS):  # nats-py would try for two minutes
            # Whoever looks next connects anew.
            await client.connect(self._url.split(","), name="live overlay", allow_reconnect=False, error_cb=_unheard)
        self._client = client
        return client

    async def _stream(self, jetstream: JetStreamContext, stream: Stream, read: Read) -> StreamSnapshot:
        try:
            state = (await jetstream.stream_info(stream.name)).state
            consumers = await jetstream.consumers_info(stream.name)
        except NotFoundError:
            return StreamSnapshot(name=stream.name, messages=0, bytes=0, last_sequence=0, consumers=[], last=[])
        begin = {"seq": max(1, state.last_seq - _LAST + 1), "next_by_subj": ">", "batch": _LAST}
        return StreamSnapshot(
            name=stream.name,
            messages=state.messages,
            bytes=state.bytes,
            last_sequence=state.last_seq,
            consumers=[
                ConsumerSnapshot(
                    name=consumer.name,
                    waiting=consumer.num_pending or 0,
                    unacknowledged=consumer.num_ack_pending or 0,
                    again=consumer.num_redelivered or 0,
                )
                for consumer in consumers
                if consumer.config.durable_name
            ],
            last=[self._message(message.headers or {}, message.data) for message in await read(stream.name, begin)],
        )

    def _message(self, headers: dict[str, str], data: bytes) -> MessageSnapshot:
        try:
            body = json.loads(data)
        except ValueError:
            body = None
        return MessageSnapshot(
            sequence=int(headers["Nats-Sequence"]),
            subject=headers["Nats-Subject"],
            at=headers["Nats-Time-Stamp"],
            body=body if self._bodies else redacted(body),
        )


async def _processes(client: Client) -> list[ProcessSnapshot]:
    answers = await request_all(client, "STATS", timeout=_LONGEST_SECONDS, idle_timeout=_QUIET_SECONDS)
    return sorted(map(_process, answers), key=lambda process: (process.service, process.id))


def redacted(body: Any) -> Any:
    """Return what a body is made of, with the type of each value in its place."""
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


async def _unheard(error: Exception) -> None:
    log.debug("the live overlay's connection", reason=str(error) or type(error).__name__)
