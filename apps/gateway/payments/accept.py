"""Taking payments in: a durable command for each, once, whatever is repeated or away."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

from uuid_utils.compat import uuid7

from apps.gateway.errors import IdempotencyKeyReused
from apps.gateway.http.backpressure import remaining
from apps.gateway.payments.ids import payment_id
from apps.gateway.payments.queue import PaymentQueue
from contracts.errors import ErrorKind
from contracts.payments import Charge, CreatePayment, PaymentStatus, PaymentView
from kit.errors import OutcomeUnknown, RemoteProblem, Unavailable
from kit.messaging.broker import Broker

_AWAY = frozenset({ErrorKind.UNAVAILABLE, ErrorKind.OUTCOME_UNKNOWN})


Find = Callable[[UUID], Awaitable[PaymentView | None]]
"""Asks the payments service for a payment, together with whoever else asks for one."""


class AcceptedPayment(NamedTuple):
    """A payment that is certain to be recorded: as it is now, and whether it was accepted before."""

    payment: PaymentView
    replayed: bool

    @property
    def first_answer(self) -> PaymentView:
        """The payment as it was shown when it was first accepted."""
        return self.payment.model_copy(update={"status": PaymentStatus.PENDING, "reason": None})


class PaymentAcceptance:
    """Accepts payments; see docs/adr on idempotency for why this needs no store of keys."""

    def __init__(self, find: Find, broker: Broker, commands: PaymentQueue, timeout: float) -> None:
        self._find = find
        self._broker = broker
        self._commands = commands
        self._timeout = timeout

    def command(self, charge: Charge, *, payer: UUID, caller: UUID, key: str | None) -> CreatePayment:
        """Make the command of a payment; with a key its id is that of every repetition."""
        return CreatePayment(
            id=payment_id(caller, key) if key else uuid7(),
            user_id=payer,
            amount=charge.amount,
            currency=charge.currency,
            metadata=charge.metadata,
            created_at=datetime.now(UTC),
        )

    async def replay(self, command: CreatePayment) -> AcceptedPayment | None:
        """Return a keyed payment that was accepted before; None where it was not.

        Raises `IdempotencyKeyReused` when its key came with another body.
        """
        known = await self._known(command.id)
        if known is None:
            return None
        if _body(known) != _body(command.pending()):
            raise IdempotencyKeyReused
        return AcceptedPayment(known, replayed=True)

    async def accept(self, command: CreatePayment, *, keyed: bool) -> AcceptedPayment:
        """Accept a payment; one whose key was used a moment ago is not made again.

        Raises `IdempotencyKeyReused` as `replay` does, and `Unavailable` where a payment is taken and can not be seen.
        """
        if await self._commands.send(command, once=keyed):
            return AcceptedPayment(command.pending(), replayed=False)
        replay = await self.replay(command)
        if replay is None:  # no longer in the stream, so only the payments service could tell what it was
            raise Unavailable("payments service")
        return replay

    async def _known(self, payment: UUID) -> PaymentView | None:
        """Look the payment up; while the payments service is away only the stream can tell.

        What the stream no longer has may have been recorded since the service was asked, so that is asked once more.
        It takes half of the time that is left at most: the other half is for accepting what nobody knows.
        """
        whole = remaining(self._timeout) / 2
        ends = time.monotonic() + whole
        for _ in range(2):
            left = ends - time.monotonic()
            if left < whole / 2:
                break  # it was asked, and did not answer: it is away
            try:
                async with asyncio.timeout(left):
                    return await self._find(payment)
            except TimeoutError:
                pass
            except RemoteProblem as error:
                if error.kind not in _AWAY:
                    raise
            except (Unavailable, OutcomeUnknown):
                if not self._broker.is_connected():
                    raise
            if waiting := await self._commands.waiting(payment):
                return waiting.pending()
        return None


def _body(payment: PaymentView) -> tuple[object, ...]:
    return payment.user_id, payment.amount, payment.currency, payment.metadata
