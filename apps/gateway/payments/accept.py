"""Accepting a payment: one durable command per payment, also when a client repeats it or a service is unavailable.

See docs/adr/0003-idempotency-without-a-store.md.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from uuid import UUID

from apps.gateway.auth import Caller
from apps.gateway.errors import Forbidden, IdempotencyKeyReused, UnknownUser
from apps.gateway.http.backpressure import remaining
from apps.gateway.payments.batches import Assigned, NewCommand
from apps.gateway.payments.ids import payment_id
from apps.gateway.payments.queue import PaymentQueue
from apps.gateway.payments.waiters import Waiters
from contracts.errors import ErrorKind
from contracts.payments import Charge, CreatePayment, PaymentStatus, PaymentView
from contracts.users import UserView
from kit.errors import OutcomeUnknown, RemoteProblem, Unavailable
from kit.messaging.broker import Broker
from kit.messaging.demand import Needed, always
from kit.runtime.clock import SYSTEM_CLOCK, SystemClock

FindPayment = Callable[[UUID], Awaitable[PaymentView | None]]
"""Asks the payments service for a payment; None for an unknown id. Raises a `Refusal` if the service refuses."""

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
    """Accepts payments; `timeout` is the time of one HTTP request, in seconds.

    `find_recorded` asks the payments service for a payment that is recorded or dead-lettered, `find_payment` also for
    one that is queued. `events_of` lets the events of a caller's payments arrive.
    """

    def __init__(
        self,
        *,
        find_recorded: FindPayment,
        find_payment: FindPayment,
        find_user: Callable[[UUID], Awaitable[UserView | None]],
        broker: Broker,
        queue: PaymentQueue,
        waiters: Waiters,
        timeout: float,
        clock: SystemClock = SYSTEM_CLOCK,
        events_of: Callable[[UUID], Needed] = lambda _caller: always,
    ) -> None:
        self._events_of = events_of
        self._find_recorded = find_recorded
        self._find_payment = find_payment
        self._find_user = find_user
        self._broker = broker
        self._queue = queue
        self._waiters = waiters
        self._timeout = timeout
        self._clock = clock

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
        new = partial(new_command, charge, payer, clock=self._clock)
        if wait is None:  # the first response again, byte for byte
            payment, repeated = await self._accept(new, payer, caller, key, lambda _: None)
            return AcceptedPayment(_as_pending(payment), repeated)
        async with self._waiters.expect(needed=self._events_of(caller.id)) as expectation:
            payment, repeated = await self._accept(new, payer, caller, key, expectation.add)
            if payment.status is PaymentStatus.PENDING:
                payment = await expectation(wait) or payment
            return AcceptedPayment(payment, repeated, wait)

    async def _accept(
        self, new: NewCommand, payer: UUID, caller: Caller, key: str | None, assigned: Assigned
    ) -> tuple[PaymentView, bool]:
        """Return the payment, and whether its key was used before."""
        if key is not None:
            command = new(payment_id(caller.id, key))
            assigned(command.id)
            return await self._accept_keyed(command, payer, caller)
        await self._check_payer(payer, caller)
        return (await self._queue.publish(new, caller.id, assigned)).pending(), False

    async def _check_payer(self, payer: UUID, caller: Caller) -> None:
        if payer != caller.id and await self._find_user(payer) is None:
            raise UnknownUser

    async def _accept_keyed(self, command: CreatePayment, payer: UUID, caller: Caller) -> tuple[PaymentView, bool]:
        """Return the payment of a key, and whether the key was used before.

        The first lookup asks only the database and the dead letters: what is in the queue, the queue refuses.
        """
        existing = await self._find(self._find_recorded, command.id)
        if existing is None:
            try:
                await self._check_payer(payer, caller)
            except UnknownUser:  # the payer may be deleted since the first use of the key, which is still queued
                existing = await self._find(self._find_payment, command.id)
                if existing is None:
                    raise
        if existing is None:
            if await self._queue.publish_keyed(command):
                return command.pending(), False
            existing = await self._find(self._find_payment, command.id)
        if existing is None:  # such as a replica of the queue that lags behind
            raise Unavailable("payments service")
        if _order(existing) != _order(command.pending()):
            raise IdempotencyKeyReused
        return existing, True

    async def _find(self, find: FindPayment, payment: UUID) -> PaymentView | None:
        """Return a payment from the payments service; while that is unavailable, from the queue, which remembers it.

        The service gets at most half of the time left: the other half is for accepting.
        """
        try:
            async with asyncio.timeout(remaining(self._timeout) / 2):
                return await find(payment)
        except TimeoutError:
            pass
        except RemoteProblem as error:
            if error.kind not in _UNAVAILABLE:
                raise
        except (Unavailable, OutcomeUnknown):
            if not self._broker.is_connected():
                raise
        command = await self._queue.find_keyed(payment)
        return command.pending() if command else None


def new_command(charge: Charge, payer: UUID, payment: UUID, *, clock: SystemClock = SYSTEM_CLOCK) -> CreatePayment:
    """Return the command for a new payment with this id."""
    return CreatePayment(
        id=payment,
        user_id=payer,
        amount=charge.amount,
        currency=charge.currency,
        metadata=charge.metadata,
        created_at=clock.now(),
    )


def _as_pending(payment: PaymentView) -> PaymentView:
    if payment.status is PaymentStatus.PENDING:
        return payment
    return payment.model_copy(update={"status": PaymentStatus.PENDING, "reason": None})


def _order(payment: PaymentView) -> tuple[object, ...]:
    return payment.user_id, payment.amount, payment.currency, payment.metadata
