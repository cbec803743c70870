"""Where the commands wait that the gateway gives to the payments service: the stream PAYMENT_COMMANDS."""

import asyncio
from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from faststream.nats import PubAck
from nats.errors import Error as NatsError
from nats.errors import TimeoutError as NatsTimeout
from nats.js.errors import APIError, NoStreamResponseError

from apps.gateway.http.backpressure import remaining
from contracts.payments import CreatePayment
from contracts.streams import PAYMENT_COMMANDS
from kit.batching import BatchLoader
from kit.errors import NATS, OutcomeUnknown, Unavailable
from kit.messaging import streams
from kit.messaging.broker import Broker
from kit.runtime.failpoints import AFTER_PUBLISH, BEFORE_PUBLISH, failpoint
from kit.runtime.tracing import trace

_FOR_SENDING = 0.3
"""Seconds that a look leaves for what comes after it. Those before are no hurry: where a machine is busy with other
things, half a second is soon gone."""
_WRONG_LAST_SEQUENCE = 10071
"""nats-server: there is a message under this subject already."""
_FULL = 10077
"""nats-server: the stream has reached its limit and takes nothing new."""


class PaymentQueue(Protocol):
    """Where commands wait for the payments service."""

    async def send(self, command: CreatePayment, *, once: bool) -> bool:
        """Keep `command`, durably; with `once` return False where one with its id was sent before."""

    async def waiting(self, payment: UUID) -> CreatePayment | None:
        """Return the command that still waits under this id."""


class JetStreamPaymentQueue:
    """Commands in the stream PAYMENT_COMMANDS."""

    def __init__(self, broker: Broker, timeout: float) -> None:
        self._broker = broker
        self._timeout = timeout
        self._looks: BatchLoader[UUID, CreatePayment | None] = BatchLoader(self._look)

    async def send(self, command: CreatePayment, *, once: bool) -> bool:
        """Publish `command`; True means that it is on disk.

        Raises `Unavailable` where NATS is away or the stream full: nothing was kept; and `OutcomeUnknown` when the
        acknowledgement did not come in time.
        """
        if not self._broker.is_connected():
            raise Unavailable(NATS)
        headers = {"content-type": "application/json", "Nats-Msg-Id": str(command.id)} | trace.get().headers()
        if once:  # holds for as long as the command waits; after that the message id does, for the duplicate window
            headers["Nats-Expected-Last-Subject-Sequence"] = "0"
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
            if error.err_code == _WRONG_LAST_SEQUENCE:
                return False
            raise Unavailable("payment queue" if error.err_code == _FULL else NATS) from error
        except NoStreamResponseError as error:
            raise Unavailable(NATS) from error
        except NatsTimeout as error:
            raise OutcomeUnknown(NATS) from error
        except NatsError as error:
            raise Unavailable(NATS) from error
        failpoint(AFTER_PUBLISH)
        return not (ack and ack.duplicate)  # in memory there is no acknowledgement

    async def waiting(self, payment: UUID) -> CreatePayment | None:
        """Look for the command in the stream by its subject; many who look for the same one at a time ask once.

        Raises `Unavailable` when NATS does not tell in the time of the request at hand.
        """
        try:
            async with asyncio.timeout(remaining(self._timeout) - _FOR_SENDING):
                return await self._looks(payment)
        except TimeoutError as error:
            raise Unavailable(NATS) from error

    async def _look(self, payments: Sequence[UUID]) -> list[CreatePayment | None]:
        jetstream, each = self._broker.jetstream, set(payments)
        looks = (streams.find(jetstream, PAYMENT_COMMANDS, CreatePayment, payment, self._timeout) for payment in each)
        found = dict(zip(each, await asyncio.gather(*looks), strict=True))
        return [found[payment] for payment in payments]
