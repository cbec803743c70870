"""Taking payments in: a durable command for each, once, whatever is repeated or away."""

from datetime import UTC, datetime
from typing import NamedTuple, Protocol
from uuid import UUID

from faststream.nats import PubAck
from nats.errors import Error as NatsError
from nats.errors import TimeoutError as NatsTimeout
from nats.js.errors import APIError, NoStreamResponseError
from uuid_utils.compat import uuid7

from apps.gateway.idempotency import payment_id
from contracts.errors import ErrorKind, FieldError
from contracts.payments import Charge, CreatePayment, GetPayment, PaymentStatus, PaymentView
from contracts.streams import PAYMENT_COMMANDS
from kit import streams
from kit.asking import NATS, Refused, ask
from kit.broker import Broker
from kit.errors import OutcomeUnknown, Refusal, Unavailable
from kit.telemetry import trace

_WRONG_LAST_SEQUENCE = 10071
"""nats-server: there is a message under this subject already."""
_FULL = 10077
"""nats-server: the stream has reached its limit and takes nothing new."""
_AWAY = frozenset({ErrorKind.UNAVAILABLE, ErrorKind.OUTCOME_UNKNOWN})


class KeyReused(Refusal):
    """The Idempotency-Key came with another body before."""

    kind = ErrorKind.INVALID
    slug = "idempotency-key-reused"

    def __init__(self) -> None:
        super().__init__("This Idempotency-Key belongs to a payment with another body.")
        self.errors = (FieldError(pointer="/header/idempotency-key", code="key_reused", message=str(self)),)


class Accepted(NamedTuple):
    """A payment that is certain to be recorded: as it is now, and whether it was accepted before."""

    payment: PaymentView
    replayed: bool

    @property
    def first_answer(self) -> PaymentView:
        """The payment as it was shown when it was first accepted."""
        return self.payment.model_copy(update={"status": PaymentStatus.PENDING, "reason": None})


class Commands(Protocol):
    """Where commands wait for the payments service."""

    async def send(self, command: CreatePayment, *, once: bool) -> bool:
        """Keep `command`, durably; with `once` return False where one with its id was sent before."""

    async def waiting(self, payment: UUID) -> CreatePayment | None:
        """Return the command that still waits under this id."""


class StreamedCommands:
    """Commands in the stream PAYMENT_COMMANDS."""

    def __init__(self, broker: Broker, timeout: float) -> None:
        self._broker = broker
        self._timeout = timeout

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
        try:
            ack: PubAck | None = await self._broker.publish(
                command.model_dump_json().encode(),
                command.address,
                headers=headers,
                stream=PAYMENT_COMMANDS.name,
                timeout=self._timeout,
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
        return not (ack and ack.duplicate)  # in memory there is no acknowledgement

    async def waiting(self, payment: UUID) -> CreatePayment | None:
        """Look for the command in the stream by its subject."""
        try:
            return await streams.find(self._broker.jetstream, PAYMENT_COMMANDS, CreatePayment, payment)
        except NatsError as error:
            raise Unavailable(NATS) from error


class Intake:
    """Accepts payments; see docs/adr on idempotency for why this needs no store of keys."""

    def __init__(self, broker: Broker, commands: Commands, timeout: float) -> None:
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

    async def replay(self, command: CreatePayment) -> Accepted | None:
        """Return a keyed payment that was accepted before; None where it was not.

        Raises `KeyReused` when its key came with another body.
        """
        known = await self._known(command.id)
        if known is None:
            return None
        if _body(known) != _body(command.pending()):
            raise KeyReused
        return Accepted(known, replayed=True)

    async def accept(self, command: CreatePayment, *, keyed: bool) -> Accepted:
        """Accept a payment; one whose key was used a moment ago is not made again.

        Raises `KeyReused` as `replay` does, and `Unavailable` where a payment is taken and can not be seen.
        """
        if await self._commands.send(command, once=keyed):
            return Accepted(command.pending(), replayed=False)
        replay = await self.replay(command)
        if replay is None:  # no longer in the stream, so only the payments service could tell what it was
            raise Unavailable("payments service")
        return replay

    async def _known(self, payment: UUID) -> PaymentView | None:
        """Look the payment up; while the payments service is away only the stream can tell."""
        try:
            return await ask(self._broker, GetPayment(id=payment), deadline=self._timeout)
        except Refused as error:
            if error.problem.kind is ErrorKind.NOT_FOUND:
                return None
            if error.problem.kind not in _AWAY:
                raise
        except (Unavailable, OutcomeUnknown):
            if not self._broker.is_connected():
                raise
        waiting = await self._commands.waiting(payment)
        return waiting.pending() if waiting else None


def _body(payment: PaymentView) -> tuple[object, ...]:
    return payment.user_id, payment.amount, payment.currency, payment.metadata
