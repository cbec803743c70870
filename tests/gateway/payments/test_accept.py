"""Taking payments in: what is answered when something is away, full, late or there already."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import pytest
from faststream.nats import PubAck
from nats.errors import ConnectionClosedError, NoRespondersError
from nats.errors import TimeoutError as NatsTimeout
from nats.js.errors import APIError, NoStreamResponseError

from apps.gateway.deps import Services
from apps.gateway.errors import IdempotencyKeyReused
from apps.gateway.payments.accept import AcceptedPayment, PaymentAcceptance
from apps.gateway.payments.queue import JetStreamPaymentQueue
from contracts.errors import ErrorKind, Problem
from contracts.payments import Charge, CreatePayment, PaymentList, PaymentStatus, PaymentView
from kit.errors import OutcomeUnknown, Unavailable
from kit.messaging.server import ERROR_CODE
from kit.runtime.tracing import Trace, trace
from tests.support.gateway_fakes import FakeCommands, MemoryBroker

ADA = UUID(int=1)


class Answer:
    """A reply on NATS."""

    def __init__(self, body: PaymentView | PaymentList | Problem) -> None:
        if isinstance(body, PaymentView):
            body = PaymentList(payments=(body,))
        self.body = body.model_dump_json().encode()
        self.headers = {ERROR_CODE: "x"} if isinstance(body, Problem) else {}


def refusal(kind: ErrorKind) -> Answer:
    return Answer(Problem(kind=kind, slug="x", detail="x"))


NOT_FOUND = Answer(PaymentList(payments=()))


class Payments(MemoryBroker):
    """A connection to a payments service, and to a stream, which answer what a test says, in turn."""

    def __init__(self, *answers: Answer | Exception, ack: PubAck | Exception | None = None) -> None:
        super().__init__()
        self.answers = list(answers)
        self.ack = ack
        self.published: list[tuple[bytes, str, dict[str, Any]]] = []

    async def request(self, message: Any, subject: str, *args: Any, **options: Any) -> Any:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def publish(self, message: Any, subject: str, *args: Any, **options: Any) -> Any:
        self.published.append((message, subject, options))
        if isinstance(self.ack, Exception):
            raise self.ack
        return self.ack


def charge(amount: int = 1999) -> Charge:
    return Charge(amount=amount, currency="USD", metadata={"order": "A-1"})


class Setting:
    """An intake in front of a payments service that answers what a test says."""

    def __init__(self, *answers: Answer | Exception) -> None:
        self.broker = Payments(*answers)
        self.commands = FakeCommands(self._never)
        self.intake = PaymentAcceptance(Services(self.broker, 2.0).payment, self.broker, self.commands, 2.0)

    async def _never(self, command: CreatePayment, origin: Trace) -> None:
        raise AssertionError

    def command(self, amount: int = 1999, key: str | None = "a key", payer: UUID = ADA) -> CreatePayment:
        return self.intake.command(charge(amount), payer=payer, caller=ADA, key=key)

    async def accept(self, **said: Any) -> AcceptedPayment:
        command = self.command(**said)
        return await self.intake.replay(command) or await self.intake.accept(command, keyed=True)


def recorded(command: CreatePayment, status: PaymentStatus = PaymentStatus.CREATED) -> PaymentView:
    return command.pending().model_copy(update={"status": status})


AWAY = [
    NoRespondersError(),
    NatsTimeout(),
    refusal(ErrorKind.UNAVAILABLE),
    refusal(ErrorKind.OUTCOME_UNKNOWN),
]


def test_a_key_gives_the_same_id_and_none_a_new_one() -> None:
    setting = Setting()
    assert setting.command().id == setting.command(amount=7).id
    assert setting.command().id.version == 8
    one, other = setting.command(key=None), setting.command(key=None)
    assert one.id != other.id
    assert one.id.version == 7


async def test_without_a_key_nobody_is_asked() -> None:
    setting = Setting()
    command = setting.command(key=None)
    assert await setting.intake.accept(command, keyed=False) == AcceptedPayment(command.pending(), replayed=False)
    assert await setting.commands.waiting(command.id) == command


async def test_a_new_key_is_a_new_payment() -> None:
    setting = Setting(NOT_FOUND)
    accepted = await setting.accept()
    assert not accepted.replayed
    assert accepted.payment.status is PaymentStatus.PENDING


@pytest.mark.parametrize("status", list(PaymentStatus))
async def test_a_known_key_is_the_payment_that_it_was(status: PaymentStatus) -> None:
    setting = Setting()
    known = recorded(setting.command(), status)
    setting.broker.answers = [Answer(known)]
    accepted = await setting.accept()
    assert accepted == AcceptedPayment(known, replayed=True)
    assert accepted.first_answer == known.model_copy(update={"status": PaymentStatus.PENDING})
    assert not await setting.commands.waiting(known.id)


@pytest.mark.parametrize("other", [{"amount": 7}, {"payer": UUID(int=2)}])
async def test_a_known_key_with_another_body_is_refused(other: dict[str, Any]) -> None:
    setting = Setting()
    setting.broker.answers = [Answer(recorded(setting.command()))]
    with pytest.raises(IdempotencyKeyReused):
        await setting.accept(**other)


@pytest.mark.parametrize("away", AWAY)
async def test_while_the_service_is_away_the_stream_tells(away: Answer | Exception) -> None:
    setting = Setting(away, away, away)
    first = await setting.accept()
    again = await setting.accept()
    assert (first.replayed, again.replayed) == (False, True)
    assert again.first_answer == first.first_answer
    with pytest.raises(IdempotencyKeyReused):
        await setting.accept(amount=7)


async def test_what_was_recorded_between_two_looks_is_found() -> None:
    """The service did not answer, and when the stream was looked at it had already taken the command from there."""
    setting = Setting(NoRespondersError(), Answer(recorded(Setting(NOT_FOUND).command())))
    replay = await setting.intake.replay(setting.command())
    assert replay is not None
    assert replay.replayed


async def test_another_refusal_of_the_service_is_no_outage() -> None:
    setting = Setting(refusal(ErrorKind.INTERNAL))
    with pytest.raises(Exception, match="x"):
        await setting.accept()
    assert not await setting.commands.waiting(setting.command().id)


async def test_while_nats_is_away_nothing_is_accepted() -> None:
    setting = Setting()
    setting.broker.connected = False
    with pytest.raises(Unavailable, match="message broker"):
        await setting.accept()


async def test_who_comes_second_at_the_same_time_gets_the_firsts_answer() -> None:
    setting = Setting(NOT_FOUND)
    first = setting.command()
    await setting.commands.send(first, once=True)  # after the look, before the own
    setting.broker.answers.append(Answer(recorded(first)))
    assert await setting.accept() == AcceptedPayment(recorded(first), replayed=True)
    setting.broker.answers = [NOT_FOUND, Answer(recorded(first))]
    with pytest.raises(IdempotencyKeyReused):
        await setting.accept(amount=7)


@pytest.mark.parametrize("answer", [NOT_FOUND, *AWAY])
async def test_what_was_accepted_a_moment_ago_and_cannot_be_seen_is_no_other_order(answer: Answer | Exception) -> None:
    setting = Setting(NOT_FOUND, answer)
    await setting.commands.send(setting.command(), once=True)
    setting.commands._queue.clear()  # taken from the stream
    with pytest.raises(Unavailable, match="payments service"):
        await setting.accept()


@asynccontextmanager
async def traced(request: Trace) -> AsyncIterator[None]:
    token = trace.set(request)
    yield
    trace.reset(token)


@pytest.mark.parametrize("once", [True, False])
async def test_a_command_is_published_with_its_id_and_the_requests(*, once: bool) -> None:
    broker = Payments(ack=PubAck(stream="PAYMENT_COMMANDS", seq=1))
    command = Setting().command()
    async with traced(Trace("a request", "a parent")):
        assert await JetStreamPaymentQueue(broker, 2.0).send(command, once=once)
    [(body, subject, options)] = broker.published
    assert CreatePayment.model_validate_json(body) == command
    assert subject == f"payments.create.{command.id}"
    assert (options["stream"], options["timeout"]) == ("PAYMENT_COMMANDS", 2.0)
    expected = {"Nats-Expected-Last-Subject-Sequence": "0"} if once else {}
    assert options["headers"] == expected | {
        "content-type": "application/json",
        "Nats-Msg-Id": str(command.id),
        "X-Request-Id": "a request",
        "traceparent": "a parent",
    }


@pytest.mark.parametrize(
    "ack", [PubAck(stream="PAYMENT_COMMANDS", seq=1, duplicate=True), APIError(code=400, err_code=10071)]
)
async def test_what_is_in_the_stream_already_is_not_sent_again(ack: PubAck | Exception) -> None:
    assert not await JetStreamPaymentQueue(Payments(ack=ack), 2.0).send(Setting().command(), once=True)


@pytest.mark.parametrize(
    ("failure", "raised", "what"),
    [
        (APIError(code=503, err_code=10077), Unavailable, "payment queue"),
        (APIError(code=503, err_code=10023), Unavailable, "message broker"),
        (NoStreamResponseError(), Unavailable, "message broker"),
        (NoRespondersError(), Unavailable, "message broker"),
        (ConnectionClosedError(), Unavailable, "message broker"),
        (NatsTimeout(), OutcomeUnknown, "message broker"),
    ],
)
async def test_what_the_stream_does_not_take_is_not_accepted(
    failure: Exception, raised: type[Exception], what: str
) -> None:
    with pytest.raises(raised, match=what):
        await JetStreamPaymentQueue(Payments(ack=failure), 2.0).send(Setting().command(), once=True)


async def test_without_a_connection_nothing_is_kept_to_be_sent_later() -> None:
    broker = Payments()
    broker.connected = False
    with pytest.raises(Unavailable, match="message broker"):
        await JetStreamPaymentQueue(broker, 2.0).send(Setting().command(), once=True)
    assert not broker.published
