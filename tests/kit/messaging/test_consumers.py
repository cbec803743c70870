"""Durable consumption of commands: acknowledgement, retries, dead letters and replicas."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from asyncpg import CheckViolationError
from nats.js.api import RawStreamMsg
from nats.js.errors import NotFoundError

from contracts.base import Command
from contracts.consumers import Durable
from contracts.errors import ErrorKind, Problem
from contracts.streams import DEAD_LETTERS
from kit.database import RefusedByDatabase
from kit.errors import InvalidField, Refusal, RemoteProblem, Unavailable
from kit.messaging.broker import Broker, durables
from kit.messaging.consumers import DurableRouter
from kit.messaging.retry import RETRY_POLICY, RetryPolicy
from kit.messaging.streams import ACK_WAIT
from kit.runtime import tracing
from mkstore.stack.servers import NatsServer
from tests.kit.conftest import Greet, Greetings, NewBroker
from tests.support.polling import eventually
from tests.support.subject_tap import SubjectTap

DURABLE = "tests-greet"


class Greeter:
    """A service that consumes the test's commands and fails as configured."""

    def __init__(self, greetings: Greetings, *, ack_wait: float = ACK_WAIT) -> None:
        self.attempts: Counter[UUID] = Counter()
        self.greeted: list[UUID] = []
        self.request_ids: list[str] = []
        self.duration = 0.0
        self.next_errors: list[Exception] = []
        """Each is raised once, in this order."""
        self.errors: dict[UUID, Exception] = {}
        """Raised for each attempt of a command."""
        self.router = DurableRouter(ack_wait=ack_wait)

        @self.router.consume(Durable(DURABLE, greetings.command, greetings.stream))
        async def greet(command: greetings.command) -> None:  # type: ignore[name-defined]
            self.attempts[command.id] += 1
            self.request_ids.append(tracing.trace.get().request_id)
            if command.id in self.errors:
                raise self.errors[command.id]
            if self.next_errors:
                raise self.next_errors.pop(0)
            await asyncio.sleep(self.duration)
            self.greeted.append(command.id)

    async def start(self, broker: Broker, *, max_delay: float = 30.0) -> None:
        broker.context.set_global(RETRY_POLICY, RetryPolicy(attempts=3, first_delay=0.02, max_delay=max_delay))
        broker.include_router(self.router)
        await broker.start()


@pytest.fixture
async def acks(broker: Broker, greetings: Greetings) -> SubjectTap:
    """Return a tap on the acknowledgements of the test's consumer."""
    return await SubjectTap().start(broker.client, f"$JS.ACK.{greetings.stream.name}.{DURABLE}.>")


async def _dead_letter(broker: Broker, command: Command) -> RawStreamMsg | None:
    try:
        return await broker.jetstream.get_last_msg(DEAD_LETTERS.name, f"dead.{command.address}", direct=True)
    except NotFoundError:
        return None


async def _is_empty(broker: Broker, greetings: Greetings) -> bool:
    return await greetings.pending(broker.jetstream) == 0


async def test_command_is_handled_once_with_its_request_id_and_removed(
    new_broker: NewBroker, greetings: Greetings
) -> None:
    broker, greeter = new_broker(), Greeter(greetings)
    await greeter.start(broker)
    commands = [greetings.command(id=uuid4()) for _ in range(250)]
    for number, command in enumerate(commands):
        await greetings.send(broker.jetstream, command, **{"X-Request-Id": f"r{number}"})
    await eventually(lambda: len(greeter.greeted) >= len(commands))
    await eventually(lambda: _is_empty(broker, greetings))
    assert sorted(greeter.greeted) == sorted(command.id for command in commands)
    assert sorted(greeter.request_ids) == sorted(f"r{number}" for number in range(250))


async def test_one_pull_request_delivers_single_commands(
    new_broker: NewBroker, broker: Broker, greetings: Greetings
) -> None:
    """A command that waited for a next request would wait until the current one expires."""
    pulls = await SubjectTap().start(broker.client, f"$JS.API.CONSUMER.MSG.NEXT.{greetings.stream.name}.{DURABLE}")
    greeter = Greeter(greetings)
    await greeter.start(new_broker())
    for number in range(1, 21):
        await greetings.send(broker.jetstream, greetings.command(id=uuid4()))
        await eventually(lambda number=number: len(greeter.greeted) == number)  # type: ignore[misc]
    assert 1 <= len(await pulls.read()) < 20  # one, unless the machine is so slow that it expires after 30 s


@pytest.mark.parametrize("error", [LookupError("not yet"), ValueError("a bug that is gone later")])
async def test_failed_command_is_retried_after_growing_delays(
    new_broker: NewBroker, greetings: Greetings, error: Exception, acks: SubjectTap
) -> None:
    broker, greeter = new_broker(), Greeter(greetings)
    greeter.next_errors = [error] * 2
    await greeter.start(broker)
    command = greetings.command(id=uuid4())
    await greetings.send(broker.jetstream, command)
    await eventually(lambda: _is_empty(broker, greetings))
    assert greeter.greeted == [command.id]
    assert greeter.attempts[command.id] == 3
    first, second = await acks.nak_delays()
    assert 0.01 <= first <= second <= 0.04
    assert await _dead_letter(broker, command) is None


async def test_attempts_during_an_outage_do_not_count(new_broker: NewBroker, greetings: Greetings) -> None:
    broker, greeter = new_broker(), Greeter(greetings)
    greeter.next_errors = [*[Unavailable("database")] * 6, LookupError(), LookupError()]
    await greeter.start(broker)
    command = greetings.command(id=uuid4())
    await greetings.send(broker.jetstream, command)
    await eventually(lambda: _is_empty(broker, greetings))
    assert greeter.greeted == [command.id]
    assert greeter.attempts[command.id] == 9
    assert await _dead_letter(broker, command) is None


async def test_dead_letter_headers_describe_the_failure(new_broker: NewBroker, greetings: Greetings) -> None:
    broker, greeter = new_broker(), Greeter(greetings)
    command, before = greetings.command(id=uuid4()), datetime.now(UTC)
    greeter.errors[command.id] = LookupError("no such\nthing: é")
    await greeter.start(broker)
    await greetings.send(broker.jetstream, command, **{"X-Request-Id": "r1", "Nats-Msg-Id": str(command.id)})
    await eventually(lambda: _is_empty(broker, greetings))
    letter = await _dead_letter(broker, command)
    assert letter is not None
    assert greeter.attempts[command.id] == 3
    assert greetings.command.model_validate_json(letter.data or b"") == command
    headers = letter.headers or {}
    assert {
        "X-Request-Id": "r1",
        "Dead-Reason": "LookupError",
        "Dead-Detail": "no such thing: ?",
        "Dead-Attempts": "3",
        "Dead-Stream": greetings.stream.name,
        "Dead-Consumer": DURABLE,
    }.items() <= headers.items()
    first, last = (datetime.fromisoformat(headers[f"Dead-{which}-Time"]) for which in ("First", "Last"))
    second = timedelta(seconds=1)
    assert before - second <= first <= last <= datetime.now(UTC) + second


async def test_invalid_messages_are_dead_lettered_at_once_without_blocking(
    new_broker: NewBroker, broker: Broker, greetings: Greetings
) -> None:
    bodies = [b"", b"no json", b"{", b"\xff\xfe", b"null", b"[]", b'{"id": "what?"}', b'{"name": "without an id"}']
    before, after = greetings.command(id=uuid4()), greetings.command(id=uuid4())
    invalid: list[tuple[Greet, bytes]] = []
    await greetings.send(broker.jetstream, before)
    for body in bodies:
        for headers in (None, {"content-type": "application/json"}):
            command = greetings.command(id=uuid4())
            await broker.jetstream.publish(command.address, body, headers=headers)
            invalid.append((command, body))
    await greetings.send(broker.jetstream, after)
    greeter = Greeter(greetings)
    await greeter.start(new_broker())
    await eventually(lambda: _is_empty(broker, greetings))
    assert sorted(greeter.greeted) == sorted([before.id, after.id])
    for command, body in invalid:
        letter = await _dead_letter(broker, command)
        assert letter is not None, body
        assert (letter.data or b"") == body
        assert (letter.headers or {})["Dead-Attempts"] == "1"


async def test_message_stays_while_its_dead_letter_cannot_be_stored(
    new_broker: NewBroker, own_server: NatsServer, greetings: Greetings
) -> None:
    await asyncio.to_thread(own_server.start)
    broker, greeter = new_broker(own_server.url), Greeter(greetings)
    greeter.next_errors = [LookupError()] * 4
    await greeter.start(broker, max_delay=0.02)
    await broker.jetstream.delete_stream(DEAD_LETTERS.name)
    command = greetings.command(id=uuid4())
    await greetings.send(broker.jetstream, command)
    await eventually(lambda: greeter.attempts[command.id] > 3)
    await eventually(lambda: _is_empty(broker, greetings))
    assert greeter.greeted == [command.id]


class Unpayable(Refusal):
    kind = ErrorKind.CONFLICT
    slug = "unpayable"


async def test_permanent_failures_are_not_retried(
    new_broker: NewBroker, greetings: Greetings, acks: SubjectTap
) -> None:
    failures = {
        greetings.command(id=uuid4()): error
        for error in (
            Unpayable("never"),
            InvalidField("name", "wrong", "No such name."),
            RemoteProblem(Problem(kind=ErrorKind.FORBIDDEN, slug="no", detail="Another service says no.")),
            RefusedByDatabase(CheckViolationError("check")),
        )
    }
    broker, greeter = new_broker(), Greeter(greetings)
    greeter.errors = {command.id: error for command, error in failures.items()}
    await greeter.start(broker)
    for command in failures:
        await greetings.send(broker.jetstream, command)
    await eventually(lambda: _is_empty(broker, greetings))
    for command, error in failures.items():
        letter = await _dead_letter(broker, command)
        assert letter is not None, error
        headers = letter.headers or {}
        assert (headers["Dead-Reason"], headers["Dead-Attempts"]) == (type(error).__name__, "1")
        assert greeter.attempts[command.id] == 1
    assert not await acks.nak_delays()


async def test_one_failing_command_delays_no_other(
    new_broker: NewBroker, greetings: Greetings, acks: SubjectTap
) -> None:
    broker, greeter = new_broker(), Greeter(greetings)
    failing, *good = (greetings.command(id=uuid4()) for _ in range(501))
    greeter.errors[failing.id] = LookupError("always")
    await greeter.start(broker)
    await greetings.send(broker.jetstream, failing)
    for start in range(0, 500, 250):
        await asyncio.gather(*(greetings.send(broker.jetstream, each) for each in good[start : start + 250]))
    await eventually(lambda: _is_empty(broker, greetings))
    assert Counter(greeter.greeted) == Counter(command.id for command in good)
    assert {count for command_id, count in greeter.attempts.items() if command_id != failing.id} == {1}
    assert len(await acks.nak_delays()) == 2  # those of the failing command
    letter = await _dead_letter(broker, failing)
    assert letter is not None
    assert (letter.headers or {})["Dead-Attempts"] == "3"


async def test_stopped_replica_returns_the_commands_that_it_has_not_handled(
    new_broker: NewBroker, greetings: Greetings
) -> None:
    """Without that, the server would redeliver them after the wait for an acknowledgement: here ten minutes."""
    greeters = [Greeter(greetings, ack_wait=600), Greeter(greetings, ack_wait=600)]
    brokers = [new_broker(), new_broker()]
    for greeter, broker in zip(greeters, brokers, strict=True):
        greeter.duration = 0.005
        await greeter.start(broker)
    commands = [greetings.command(id=uuid4()) for _ in range(600)]
    stopping: asyncio.Task[None] | None = None
    for start in range(0, len(commands), 100):
        await asyncio.gather(*(greetings.send(brokers[1].jetstream, each) for each in commands[start : start + 100]))
        if start == 200:
            await eventually(lambda: all(greeter.greeted for greeter in greeters))
            stopping = asyncio.create_task(brokers[0].stop())
    assert stopping is not None
    await stopping
    await eventually(lambda: _is_empty(brokers[1], greetings))
    greeted = Counter(greeters[0].greeted + greeters[1].greeted)
    assert greeted.keys() == {command.id for command in commands}
    assert max(greeted.values()) == 1


def test_durable_keeps_its_name_when_the_handler_is_renamed(greetings: Greetings) -> None:
    router = DurableRouter()

    @router.consume(Durable(DURABLE, greetings.command, greetings.stream))
    async def welcome(command: greetings.command) -> None:  # type: ignore[name-defined]
        raise NotImplementedError

    assert [config.durable_name for _, config in durables(router.subscribers)] == [DURABLE]
