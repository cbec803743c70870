"""The durable queue of payment commands: the stream PAYMENT_COMMANDS."""

import asyncio
from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from faststream.nats import PubAck
from nats.errors import Error as NatsError
from nats.errors import TimeoutError as NatsTimeout
from nats.js.errors import APIError, NoStreamResponseError

from apps.gateway.http.backpressure import remaining
from contracts import nats_errors
from contracts.headers import EXPECTED_LAST_SUBJECT_SEQUENCE, MESSAGE_ID
from contracts.payments import CreatePayment
from contracts.streams import PAYMENT_COMMANDS
from kit.batching import BatchLoader
from kit.errors import NATS, OutcomeUnknown, Unavailable
from kit.messaging import streams
from kit.messaging.broker import Broker
from kit.runtime.failpoints import AFTER_PUBLISH, BEFORE_PUBLISH, failpoint
from kit.runtime.tracing import trace

_PUBLISH_RESERVE = 0.3
"""Seconds that a lookup leaves for the publish after it."""


class PaymentQueue(Protocol):
    """A durable queue of commands for the payments service."""

    async def publish(self, command: CreatePayment, *, if_new: bool) -> bool:
        """Store `command` durably; with `if_new` return False if one with its id was published before."""

    async def find_pending(self, payment: UUID) -> CreatePayment | None:
        """Return the command with this id that is not consumed yet, or None."""


class JetStreamPaymentQueue:
    """Commands in the stream PAYMENT_COMMANDS; `timeout` is the time of one HTTP request, in seconds."""

    def __init__(self, broker: Broker, timeout: float) -> None:
        self._broker = broker
        self._timeout = timeout
        self._pending: BatchLoader[UUID, CreatePayment | None] = BatchLoader(self._load_pending)

    async def publish(self, command: CreatePayment, *, if_new: bool) -> bool:
        """Publish `command`; True means that it is synced to disk.

        Raises `Unavailable` if NATS is unavailable or the stream is full, so that nothing was stored, and
        `OutcomeUnknown` if the acknowledgement did not arrive in time.
        """
        if not self._broker.is_connected():
            raise Unavailable(NATS)
        headers = {"content-type": "application/json", MESSAGE_ID: str(command.id)} | trace.get().headers()
        if if_new:  # effective until the command is consumed; then the message id is, for the duplicate window
            headers[EXPECTED_LAST_SUBJECT_SEQUENCE] = "0"
        failpoint(BEFORE_PUBLISH)
        try:
            ack: PubAck | None = await self._broker.publish(
                command.model_dump_json().encode(),
                command.address,
                headers=headers,
                stream=PAYMENT_COMMANDS.name,
                timeout=remaining(self._timeout),
            )
        except APIError as error:
            if error.err_code == nats_errors.WRONG_LAST_SEQUENCE:
                return False
            raise Unavailable("payment queue" if error.err_code == nats_errors.STREAM_FULL else NATS) from error
        except NoStreamResponseError as error:
            raise Unavailable(NATS) from error
        except NatsTimeout as error:
            raise OutcomeUnknown(NATS) from error
        except NatsError as error:
            raise Unavailable(NATS) from error
        failpoint(AFTER_PUBLISH)
        return not (ack and ack.duplicate)  # TestNatsBroker returns no acknowledgement

    async def find_pending(self, payment: UUID) -> CreatePayment | None:
        """Find the command in the stream by its subject; concurrent lookups of one command are one request.

        Raises `Unavailable` if NATS does not reply in the time that the HTTP request has left.
        """
        try:
            async with asyncio.timeout(remaining(self._timeout) - _PUBLISH_RESERVE):
                return await self._pending(payment)
        except TimeoutError as error:
            raise Unavailable(NATS) from error

    async def _load_pending(self, payments: Sequence[UUID]) -> list[CreatePayment | None]:
        jetstream, ids = self._broker.jetstream, set(payments)
        lookups = (streams.find(jetstream, PAYMENT_COMMANDS, CreatePayment, one, self._timeout) for one in ids)
        by_id = dict(zip(ids, await asyncio.gather(*lookups), strict=True))
        return [by_id[payment] for payment in payments]
