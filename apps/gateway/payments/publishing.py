"""Publishing to the streams of payment commands: an acknowledged message is synced to disk."""

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple
from uuid import uuid4

from nats.errors import Error as NatsError
from nats.errors import TimeoutError as NatsTimeout

from contracts import nats_errors
from contracts.headers import (
    BATCH_COMMIT,
    BATCH_ID,
    BATCH_SEQUENCE,
    EXPECTED_LAST_SUBJECT_SEQUENCE,
)
from kit.errors import NATS, OutcomeUnknown, Unavailable
from kit.messaging.broker import Broker
from kit.runtime.failpoints import AFTER_ATOMIC_BATCH, AFTER_PUBLISH, BEFORE_PUBLISH, HALF_A_BATCH, failpoint
from kit.runtime.spans import nats_span

NEW = {"content-type": "application/json", EXPECTED_LAST_SUBJECT_SEQUENCE: "0"}
"""Headers of a command: refused if the stream has one with the same id."""


_MIN_TIMEOUT = 0.05
"""Seconds that a publish may take, even if its request is late: NATS replies sooner if it is up."""


class Refused(Exception):
    """The stream refused a publish, so that nothing was stored; `code` is nats-server's error code."""

    def __init__(self, code: int, description: str) -> None:
        super().__init__(description)
        self.code = code

    def as_unavailable(self) -> Unavailable:
        """Return the refusal for a client."""
        return Unavailable("payment queue" if self.code == nats_errors.STREAM_FULL else NATS)


class Outgoing(NamedTuple):
    """A message to publish."""

    subject: str
    body: bytes
    headers: Mapping[str, str]
    channel: str
    """The subject as its contract has it, with a name in the place of the id."""


class CommandPublisher:
    """Publishes commands and waits for the acknowledgement of the stream.

    Each method raises `Refused`, or `Unavailable` if NATS is, so that nothing was stored, and `OutcomeUnknown` if no
    acknowledgement arrives within `timeout` seconds.
    """

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def publish(self, message: Outgoing, timeout: float) -> None:  # noqa: ASYNC109 - translated to OutcomeUnknown
        """Publish one message."""
        self._check_connection()
        failpoint(BEFORE_PUBLISH)
        with nats_span("send", "PRODUCER", message.channel):
            await self._commit(message, message.headers, timeout)

    async def publish_atomically(self, messages: Sequence[Outgoing], timeout: float) -> None:  # noqa: ASYNC109 - same
        """Publish all messages or none, as one atomic batch (NATS ADR-50)."""
        self._check_connection()
        failpoint(BEFORE_PUBLISH)
        batch = uuid4().hex
        count = {"messaging.batch.message_count": len(messages)}
        with nats_span("send", "PRODUCER", messages[0].channel, count):
            for place, message in enumerate(messages, start=1):
                headers = {**message.headers, BATCH_ID: batch, BATCH_SEQUENCE: str(place)}
                if place < len(messages):
                    await self._send(message, headers)
                else:
                    failpoint(HALF_A_BATCH)
                    await self._commit(message, headers | {BATCH_COMMIT: "1"}, timeout)
                    failpoint(AFTER_ATOMIC_BATCH)

    async def _send(self, message: Outgoing, headers: Mapping[str, str]) -> None:
        try:
            await self._broker.client.publish(message.subject, message.body, headers=dict(headers))
        except NatsError as error:  # without the commit nothing is stored
            raise Unavailable(NATS) from error

    async def _commit(self, message: Outgoing, headers: Mapping[str, str], timeout: float) -> None:  # noqa: ASYNC109 - same
        try:
            reply = await self._broker.client.request(message.subject, message.body, timeout, headers=dict(headers))
        except (TimeoutError, NatsTimeout) as error:
            raise OutcomeUnknown(NATS) from error
        except NatsError as error:  # no stream, or not sent at all
            raise Unavailable(NATS) from error
        if refusal := json.loads(reply.data).get("error"):
            raise Refused(int(refusal.get("err_code", 0)), str(refusal.get("description", "")))
        failpoint(AFTER_PUBLISH)

    def _check_connection(self) -> None:
        # Otherwise nats-py would keep the message and send it after the reconnect, whatever response its client gets.
        if not self._broker.is_connected():
            raise Unavailable(NATS)


def time_left(deadlines: Iterable[float]) -> float:
    """Return the seconds until the first of these deadlines, which are times of the event loop's clock."""
    return max(_MIN_TIMEOUT, min(deadlines) - asyncio.get_running_loop().time())
