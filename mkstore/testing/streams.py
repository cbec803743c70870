"""JetStream in memory: streams that store messages and deliver them to the handlers of services."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from nats.aio.msg import Msg
from structlog.stdlib import get_logger

from contracts.headers import MESSAGE_ID
from contracts.streams import Stream, covers, stream_of
from kit.asyncapi.handlers import handled_by
from kit.messaging.broker import Broker
from kit.runtime.clock import SystemClock
from kit.runtime.tasks import cancel_and_wait
from mkstore.testing.deliveries import Consumer, Delivery, Stored

log = get_logger(__name__)


class MemoryStreams:
    """The streams of the contracts, and deliveries to the handlers of the brokers that have joined.

    A message is stored once per `Nats-Msg-Id` within the duplicate window of its stream. A work queue loses what is
    acknowledged, a compacted stream all but the last message of a subject, and what is older than the stream keeps it
    cannot be read; all by `clock`. Sizes and other limits of the streams do not apply.
    """

    def __init__(self, clock: SystemClock) -> None:
        self._clock = clock
        self._messages: dict[str, list[Stored]] = defaultdict(list)
        self._sequences: Counter[str] = Counter()
        self._ids: dict[tuple[str, str], Stored] = {}
        self._followers: list[Any] = []
        self._in_order = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self.consumers: list[Consumer] = []
        self.deliveries: list[Delivery] = []
        """Every delivery to a durable consumer, in the order of the messages."""
        self.published: list[Stored] = []
        """Everything that was ever stored, also what its stream has lost since."""

    def join(self, broker: Broker) -> None:
        """Deliver to the handlers of this broker from now on."""
        for each in handled_by(broker):
            if each.role == "consumes":
                stream, config = each.subscriber.stream.name, each.subscriber.config
                consumer = Consumer(config.durable_name, each.message, stream, each.subscriber, config.filter_subject)
                consumer.running.set()
                self.consumers.append(consumer)
            elif each.role == "subscribes" and each.subscriber not in self._followers:
                self._followers.append(each.subscriber)

    def store(self, subject: str, body: bytes, headers: Mapping[str, str]) -> tuple[Stored, bool]:
        """Store a message without delivering it; return it, or the one with its id, and whether it is new.

        Raises `KeyError` if no stream has the subject.
        """
        stream = stream_of(subject)
        message_id = headers.get(MESSAGE_ID, "")
        known = self._ids.get((stream.name, message_id)) if message_id else None
        if known is not None and self._age(known) < stream.duplicate_window:
            return known, False
        self._sequences[stream.name] += 1
        stored = Stored(stream, self._sequences[stream.name], subject, dict(headers), body, self._clock.now())
        if message_id:
            self._ids[stream.name, message_id] = stored
        if stream.compacted:
            others = [message for message in self._messages[stream.name] if message.subject != subject]
            self._messages[stream.name] = others
        self._messages[stream.name].append(stored)
        self.published.append(stored)
        return stored, True

    async def publish(self, subject: str, body: bytes, headers: Mapping[str, str]) -> Stored:
        """Store a message; deliver it to every process that follows its stream, and then to its durable consumers.

        The first happens before this returns, the second in the background. Raises `KeyError` if no stream has the
        subject.
        """
        async with self._in_order:
            stored, is_new = self.store(subject, body, headers)
            if not is_new:
                return stored
            for consumer in self.consumers:
                if consumer.stream == stored.stream.name and covers(consumer.subject, subject):
                    self._deliver(Delivery(consumer, stored))
            for follower in self._followers:
                if follower.stream.name == stored.stream.name:
                    await _hand_over(follower, stored)
        return stored

    def messages(self, stream: Stream) -> Sequence[Stored]:
        """Return what a stream has now, oldest first."""
        self._messages[stream.name] = self._kept(stream)
        return self._messages[stream.name]

    def last(self, stream: Stream, subject: str) -> Stored | None:
        """Return the last message with a subject that a stream has; None if there is none."""
        return next((message for message in reversed(self.messages(stream)) if message.subject == subject), None)

    def last_sequence(self, stream: Stream) -> int:
        """Return the sequence of the last message that was ever stored; 0 before the first one."""
        return self._sequences[stream.name]

    def is_waiting(self, message: Stored) -> bool:
        """Return whether a message waits for a consumer, or was delivered to none."""
        outcomes = [each.outcome for each in self.deliveries if each.message is message]
        return not outcomes or "waiting" in outcomes

    def remove(self, message: Stored) -> None:
        """Remove a message from its stream."""
        kept = self._messages[message.stream.name]
        self._messages[message.stream.name] = [each for each in kept if each is not message]

    def hold(self, service: str) -> None:
        """Deliver nothing to the consumers of a service until `release`."""
        for consumer in self.consumers:
            if consumer.service == service:
                consumer.running.clear()

    def release(self, service: str) -> None:
        """Deliver to the consumers of a service again, first what waited."""
        for consumer in self.consumers:
            if consumer.service == service:
                consumer.running.set()

    @property
    def is_idle(self) -> bool:
        """Whether every message is handled or dead-lettered, except those of services that are held."""
        return not self._in_order.locked() and all(
            each.outcome != "waiting" or not each.consumer.running.is_set() for each in self.deliveries
        )

    async def close(self) -> None:
        """End all deliveries."""
        await cancel_and_wait(self._tasks)

    def _deliver(self, delivery: Delivery) -> None:
        self.deliveries.append(delivery)
        task = asyncio.create_task(self._run(delivery))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, delivery: Delivery) -> None:
        await delivery.run(self.publish)
        if delivery.message.stream.retention == "workqueue":
            self.remove(delivery.message)

    def _age(self, message: Stored) -> timedelta:
        return self._clock.now() - message.at

    def _kept(self, stream: Stream) -> list[Stored]:
        kept = self._messages[stream.name]
        if stream.max_age is not None:
            kept = [message for message in kept if self._age(message) < stream.max_age]
        if stream.memory is not None:  # its owner purges what is handled
            kept = [message for message in kept if self._age(message) < stream.memory or self.is_waiting(message)]
        return kept


async def _hand_over(follower: Any, stored: Stored) -> None:
    """Hand a message to a process that follows a stream; as on a server, a handler that fails skips it."""
    message = Msg(_client=None, subject=stored.subject, data=stored.body, headers=dict(stored.headers))  # type: ignore[arg-type]
    try:
        await follower.process_message(message)
    except Exception:
        log.exception("event skipped: its handler failed", subject=stored.subject)
