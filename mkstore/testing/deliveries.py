"""Deliveries of stored messages to durable consumers, as JetStream makes them: acknowledged, returned, dead-lettered.

The handlers get real messages of nats-py, so `kit.messaging.delivery` decides about retries and dead letters, as it
does in production. Only the connection behind a message is fake.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from nats.aio.msg import Msg
from structlog.stdlib import get_logger

from contracts.streams import Stream

log = get_logger(__name__)

RETRY_WAIT = 0.01
"""Seconds until a returned message is delivered again; its own delay, up to minutes, is not waited for."""

Outcome = Literal["waiting", "handled", "dead-lettered"]


@dataclass(frozen=True)
class Stored:
    """A message in a stream."""

    stream: Stream
    sequence: int
    subject: str
    headers: Mapping[str, str]
    body: bytes
    at: datetime
    """When it was stored."""


Store = Callable[[str, bytes, Mapping[str, str]], Awaitable[Stored]]
"""Stores a message under its subject."""


@dataclass(eq=False)
class Consumer:
    """A durable consumer: the subscriber that handles its messages, unless it is stopped."""

    name: str
    contract: type[Any]
    stream: str
    subscriber: Any
    subject: str
    """The subject of its messages, with NATS wildcards."""
    running: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def service(self) -> str:
        """The service that consumes."""
        return self.name.partition("-")[0]


@dataclass(eq=False)
class Delivery:
    """One message for one consumer: how often it was delivered, and how that ended."""

    consumer: Consumer
    message: Stored
    attempts: int = 0
    is_acknowledged: bool = False
    dead_letters: list[Stored] = field(default_factory=list)
    """The message, or the commands of a batch, that were given up."""

    @property
    def outcome(self) -> Outcome:
        """How it ended; a batch with a dead letter counts as dead-lettered."""
        if not self.is_acknowledged:
            return "waiting"
        return "dead-lettered" if self.dead_letters else "handled"

    async def run(self, store: Store) -> None:
        """Deliver the message until it is acknowledged; dead letters go to `store`."""
        while not self.is_acknowledged:
            await self.consumer.running.wait()
            self.attempts += 1
            message = Msg(
                _client=_Connection(self, store),  # type: ignore[arg-type]
                subject=self.message.subject,
                reply=self._reply_subject(),
                data=self.message.body,
                headers=dict(self.message.headers),
            )
            try:
                await self.consumer.subscriber.process_message(message)
            except Exception:  # without an acknowledgement JetStream delivers it again
                log.exception("message not handled", consumer=self.consumer.name, subject=self.message.subject)
            if not self.is_acknowledged:
                await asyncio.sleep(RETRY_WAIT)

    def _reply_subject(self) -> str:
        """Return the subject of an acknowledgement, which contains what nats-py calls metadata (NATS ADR-15)."""
        stored, nanoseconds = self.message, int(self.message.at.timestamp() * 1_000_000) * 1000
        place = f"{stored.stream.name}.{self.consumer.name}.{self.attempts}.{stored.sequence}.{stored.sequence}"
        return f"$JS.ACK.{place}.{nanoseconds}.0"


class _Connection:
    """What a delivered message uses of nats-py's client and of its JetStream context."""

    def __init__(self, delivery: Delivery, store: Store) -> None:
        self._delivery = delivery
        self._store = store

    def jetstream(self) -> "_JetStream":
        return _JetStream(self._delivery, self._store)

    async def publish(self, _subject: str, payload: bytes = b"", **_options: Any) -> None:
        """Take an acknowledgement: an empty one, `+ACK` and `+TERM` end the delivery."""
        if not payload.startswith((Msg.Ack.Nak, Msg.Ack.Progress)):
            self._delivery.is_acknowledged = True


class _JetStream:
    """Stores what the handling of a message publishes: its dead letters."""

    def __init__(self, delivery: Delivery, store: Store) -> None:
        self._delivery = delivery
        self._store = store

    async def publish(
        self, subject: str, payload: bytes = b"", *, headers: Mapping[str, str] | None = None, **_options: Any
    ) -> None:
        self._delivery.dead_letters.append(await self._store(subject, payload, headers or {}))
