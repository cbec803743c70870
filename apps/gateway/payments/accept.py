"""Accepting a payment: one durable command per payment, also when a client repeats it or a service is unavailable.

See docs/adr/0003-idempotency-without-a-store.md.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from uuid_utils.compat import uuid7

from apps.gateway.auth import Caller
from apps.gateway.errors import Forbidden, IdempotencyKeyReused, UnknownUser
from apps.gateway.http.backpressure import remaining
from apps.gateway.payments.ids import payment_id
from apps.gateway.payments.queue import PaymentQueue
from apps.gateway.payments.waiters import Waiters
from contracts.errors import ErrorKind
from contracts.payments import Charge, CreatePayment, PaymentStatus, PaymentView
from contracts.users import UserView
from kit.errors import OutcomeUnknown, RemoteProblem, Unavailable
from kit.messaging.broker import Broker

_UNAVAILABLE = frozenset({ErrorKind.UNAVAILABLE, ErrorKind.OUTCOME_UNKNOWN})


@dataclass(frozen=True)
class AcceptedPayment:
    """A payment that is certain to be recorded."""

    payment: PaymentView
    """Pending, or recorded if the client waited for that."""
    repeated: bool = False
    """Whether its Idempotency-Key was used before."""
    waited: int | None = None
    """The wait that was applied, in seconds."""

    @property
    def recorded(self) -> bool:
        """Whether the payment is shown as recorded."""
        return self.payment.status is not PaymentStatus.PENDING


class PaymentAcceptance:
    """Accepts payments; `timeout` is the time of one HTTP request, in seconds."""

    def __init__(
        self,
        *,
        find_payment: Callable[[UUID], Awaitable[PaymentView | None]],
        find_user: Callable[[UUID], Awaitable[UserView | None]],
        broker: Broker,
        queue: PaymentQueue,
        waiters: Waiters,
        timeout: float,
    ) -> None:
        self._find_payment = find_payment
        self._find_user = find_user
        self._broker = broker
        self._queue = queue
        self._waiters = waiters
        self._timeout = timeout

    async def accept(
        self,
        charge: Charge,
        caller: Caller,
        *,
        payer: UUID | None = None,
        key: str | None = None,
        wait: int | None = None,
    ) -> AcceptedPayment:
        """Accept a payment, or return the one that `key` was used for before.

        `payer` defaults to the caller; `wait` is the time to wait until the payment is recorded, in seconds.

        Raises `Forbidden` if the caller may not pay for `payer`, `UnknownUser` if `payer` does not exist,
        `IdempotencyKeyReused` if the key belongs to another body, `Unavailable` if nothing was accepted, and
        `OutcomeUnknown` if the queue did not acknowledge in time.
        """
        payer = payer or caller.id
        if not caller.may_see(payer):
            raise Forbidden("Only an admin may pay for another user.")
        command = new_command(charge, payer=payer, caller=caller.id, key=key)
        if wait is None:  # the first response again, byte for byte
            payment, repeated = await self._accept(command, caller, has_key=key is not None)
            return AcceptedPayment(_as_pending(payment), repeated)
        async with self._waiters.expect(command.id) as wait_recorded:  # before publishing: the event may arrive at once
            payment, repeated = await self._accept(command, caller, has_key=key is not None)
            if payment.status is PaymentStatus.PENDING:
                payment = await wait_recorded(wait) or payment
            return AcceptedPayment(payment, repeated, wait)

    async def _accept(self, command: CreatePayment, caller: Caller, *, has_key: bool) -> tuple[PaymentView, bool]:
        """Publish the command unless its payment exists; return the payment and whether it did."""
        if has_key and (existing := await self._find_existing(command)) is not None:
            return existing, True
        if command.user_id != caller.id and await self._find_user(command.user_id) is None:
            raise UnknownUser
        return await self._publish(command, if_new=has_key)

    async def _publish(self, command: CreatePayment, *, if_new: bool) -> tuple[PaymentView, bool]:
        """Publish the command; return the payment and whether it existed already."""
        if await self._queue.publish(command, if_new=if_new):
            return command.pending(), False
        existing = await self._find_existing(command)
        if existing is None:  # consumed already, so only the payments service could return its body
            raise Unavailable("payments service")
        return existing, True

    async def _find_existing(self, command: CreatePayment) -> PaymentView | None:
        """Return the payment that has the command's id. Raises `IdempotencyKeyReused` if it is another order."""
        existing = await self._find(command.id)
        if existing is not None and _order(existing) != _order(command.pending()):
            raise IdempotencyKeyReused
        return existing

    async def _find(self, payment: UUID) -> PaymentView | None:
        """Return a payment from the payments service; while that is unavailable, from the queue.

        A command that is no longer in the queue may have been recorded since the service was asked, so the service is
        asked a second time. All of it takes at most half of the time left: the other half is for accepting.
        """
        clock = asyncio.get_running_loop().time
        budget = remaining(self._timeout) / 2
        deadline = clock() + budget
        for _ in range(2):
            left = deadline - clock()
            if left < budget / 2:
                break  # the first attempt timed out: the service is unavailable
            try:
                async with asyncio.timeout(left):
                    return await self._find_payment(payment)
            except TimeoutError:
                pass
            except RemoteProblem as error:
                if error.kind not in _UNAVAILABLE:
                    raise
            except (Unavailable, OutcomeUnknown):
                if not self._broker.is_connected():
                    raise
            if pending := await self._queue.find_pending(payment):
                return pending.pending()
        return None


def new_command(charge: Charge, *, payer: UUID, caller: UUID, key: str | None) -> CreatePayment:
    """Return the command for a new payment; the same caller and key always give the same id."""
    return CreatePayment(
        id=payment_id(caller, key) if key else uuid7(),
        user_id=payer,
        amount=charge.amount,
        currency=charge.currency,
        metadata=charge.metadata,
        created_at=datetime.now(UTC),
    )


def _as_pending(payment: PaymentView) -> PaymentView:
    return payment.model_copy(update={"status": PaymentStatus.PENDING, "reason": None})


def _order(payment: PaymentView) -> tuple[object, ...]:
    return payment.user_id, payment.amount, payment.currency, payment.metadata
