"""Commands from a stream: acked when handled, tried again when not, kept when hopeless, shared among replicas."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from nats.aio.msg import Msg
from nats.js.api import RawStreamMsg
from nats.js.errors import NotFoundError
from sqlalchemy.exc import IntegrityError

from contracts.base import Command
from contracts.consumers import Durable
from contracts.errors import ErrorKind, Problem
from contracts.streams import DEAD_LETTERS
from kit.database import RefusedByDatabase
from kit.errors import InvalidField, Refusal, RemoteProblem, Unavailable
from kit.messaging import consumers
from kit.messaging.broker import Broker, durables
from kit.messaging.consumers import RETRY_POLICY, DurableRouter
from kit.messaging.retry import RetryPolicy
from kit.runtime import tracing
from tests.kit.conftest import Greetings, NewBroker
from tests.support.polling import eventually


class Host:
    """A service that consumes the test's commands and fails a configured number of times."""

    def __init__(self, greetings: Greetings, error: Exception | None = None, failures: int = 0) -> None:
        self.tries: Counter[UUID] = Counter()
        self.greeted: list[UUID] = []
        self.requests: list[str] = []
        self.seconds = 0.0
        self.poison: UUID | None = None
        self.errors = [error] * failures if error is not None else []
        self.router = DurableRouter()

        @self.router.consume(Durable("tests-greet", greetings.command, greetings.stream))
        async def greet(command: greetings.command) -> None:  # type: ignore[name-defined]
            self.tries[command.id] += 1
            self.requests.append(tracing.trace.get().request_id)
            if error is not None and command.id == self.poison:
                raise error
            if self.errors:
                raise self.errors.pop(0)
            await asyncio.sleep(self.seconds)
            self.greeted.append(command.id)

    async def start(self, broker: Broker, *, longest: float = 30.0) -> None:
        broker.context.set_global(RETRY_POLICY, RetryPolicy(attempts=3, first_delay=0.02, max_delay=longest))
        broker.include_router(self.router)
        await broker.start()


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the server was asked to wait before it gives a message again, in order."""
    asked: list[float] = []
    nak = Msg.nak

    async def seen(message: Msg, delay: float | None = None) -> None:
        asked.append(delay or 0.0)
        await nak(message, delay)

    monkeypatch.setattr(Msg, "nak", seen)
    return asked


async def dead_letter(broker: Broker, command: Command) -> RawStreamMsg | None:
    try:
        return await broker.jetstream.get_last_msg(DEAD_LETTERS.name, f"dead.{command.address}", direct=True)
    except NotFoundError:
        return None


async def test_a_command_is_handled_once_with_its_request_and_then_gone(
    new_broker: NewBroker, greetings: Greetings
) -> None:
    broker, host = new_broker(), Host(greetings)
    await host.start(broker)
    commands = [greetings.command(id=uuid4()) for _ in range(250)]
    for number, command in enumerate(commands):
        await greetings.send(broker.jetstream, command, **{"X-Request-Id": f"r{number}"})
    await eventually(lambda: len(host.greeted) >= len(commands))
    await eventually(lambda: _empty(broker, greetings))
    assert sorted(host.greeted) == sorted(command.id for command in commands)
    assert sorted(host.requests) == sorted(f"r{number}" for number in range(250))


async def test_a_lone_command_does_not_wait_for_others(new_broker: NewBroker, greetings: Greetings) -> None:
    broker, host = new_broker(), Host(greetings)
    await host.start(broker)
    for number in range(1, 21):
        await greetings.send(broker.jetstream, greetings.command(id=uuid4()))
        await eventually(lambda number=number: len(host.greeted) == number, timeout=1)  # type: ignore[misc]


@pytest.mark.parametrize("error", [LookupError("not yet"), ValueError("a bug that mends itself")])
async def test_what_fails_is_tried_again_after_longer_and_longer_pauses(
    new_broker: NewBroker, greetings: Greetings, error: Exception, pauses: list[float]
) -> None:
    broker, host = new_broker(), Host(greetings, error, failures=2)
    await host.start(broker)
    command = greetings.command(id=uuid4())
    await greetings.send(broker.jetstream, command)
    await eventually(lambda: _empty(broker, greetings))
    assert host.greeted == [command.id]
    assert host.tries[command.id] == 3
    assert 0.01 <= pauses[0] <= pauses[1] <= 0.04
    assert len(pauses) == 2
    assert await dead_letter(broker, command) is None


async def test_while_something_is_away_a_command_is_tried_for_as_long_as_that_lasts(
    new_broker: NewBroker, greetings: Greetings
) -> None:
    broker, host = new_broker(), Host(greetings, Unavailable("database"), failures=6)
    await host.start(broker)
    command = greetings.command(id=uuid4())
    await greetings.send(broker.jetstream, command)
    await eventually(lambda: _empty(broker, greetings))
    assert host.greeted == [command.id]
    assert host.tries[command.id] == 7


async def test_what_keeps_failing_goes_to_the_dead_letters_with_its_story(
    new_broker: NewBroker, greetings: Greetings
) -> None:
    broker, host = new_broker(), Host(greetings, LookupError("no such\nthing: é"), failures=99)
    await host.start(broker)
    command, before = greetings.command(id=uuid4()), datetime.now(UTC)
    await greetings.send(broker.jetstream, command, **{"X-Request-Id": "r1", "Nats-Msg-Id": str(command.id)})
    await eventually(lambda: _empty(broker, greetings))
    letter = await dead_letter(broker, command)
    assert letter is not None
    assert host.tries[command.id] == 3
    assert greetings.command.model_validate_json(letter.data or b"") == command
    headers = letter.headers or {}
    assert {
        "X-Request-Id": "r1",
        "Dead-Reason": "LookupError",
        "Dead-Detail": "no such thing: ?",
        "Dead-Attempts": "3",
        "Dead-Stream": greetings.stream.name,
        "Dead-Consumer": "tests-greet",
    }.items() <= headers.items()
    first, last = (datetime.fromisoformat(headers[f"Dead-{which}-Time"]) for which in ("First", "Last"))
    second = timedelta(seconds=1)
    assert before - second <= first <= last <= datetime.now(UTC) + second


@pytest.mark.parametrize(
    "body", [b"", b"no json", b"{", b"\xff\xfe", b"null", b"[]", b'{"id": "what?"}', b'{"name": "without an id"}']
)
@pytest.mark.parametrize("content_type", [{}, {"content-type": "application/json"}], ids=["plain", "json"])
async def test_what_does_not_fit_its_contract_is_tried_once_and_blocks_nobody(
    new_broker: NewBroker, broker: Broker, greetings: Greetings, body: bytes, content_type: dict[str, str]
) -> None:
    before, bad, after = (greetings.command(id=uuid4()) for _ in range(3))
    await greetings.send(broker.jetstream, before)
    await broker.jetstream.publish(bad.address, body, headers=content_type or None)
    await greetings.send(broker.jetstream, after)
    host = Host(greetings)
    await host.start(new_broker())
    await eventually(lambda: _empty(broker, greetings))
    assert sorted(host.greeted) == sorted([before.id, after.id])
    letter = await dead_letter(broker, bad)
    assert letter is not None
    assert (letter.data or b"") == body
    assert (letter.headers or {})["Dead-Attempts"] == "1"


async def test_what_the_dead_letters_do_not_take_stays_where_it_is(
    new_broker: NewBroker, greetings: Greetings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "DEAD", "nowhere.")
    broker, host = new_broker(), Host(greetings, LookupError(), failures=4)
    await host.start(broker, longest=0.02)
    command = greetings.command(id=uuid4())
    await greetings.send(broker.jetstream, command)
    await eventually(lambda: host.tries[command.id] > 3)
    await eventually(lambda: _empty(broker, greetings))
    assert host.greeted == [command.id]


class Unpayable(Refusal):
    kind = ErrorKind.CONFLICT
    slug = "unpayable"


@pytest.mark.parametrize(
    "error",
    [
        Unpayable("never"),
        InvalidField("name", "wrong", "No such name."),
        RemoteProblem(Problem(kind=ErrorKind.FORBIDDEN, slug="no", detail="Another service says no.")),
        RefusedByDatabase(IntegrityError("INSERT", None, Exception("check"))),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_what_would_only_fail_again_is_tried_once(
    new_broker: NewBroker, greetings: Greetings, error: Exception, pauses: list[float]
) -> None:
    broker, host = new_broker(), Host(greetings, error, failures=99)
    await host.start(broker)
    command = greetings.command(id=uuid4())
    await greetings.send(broker.jetstream, command)
    await eventually(lambda: _empty(broker, greetings))
    letter = await dead_letter(broker, command)
    assert letter is not None
    headers = letter.headers or {}
    assert (headers["Dead-Reason"], headers["Dead-Attempts"]) == (type(error).__name__, "1")
    assert host.tries[command.id] == 1
    assert not pauses


async def test_what_was_tried_during_an_outage_does_not_count_against_a_message(
    new_broker: NewBroker, greetings: Greetings
) -> None:
    broker, host = new_broker(), Host(greetings)
    host.errors = [*[Unavailable("database")] * 5, LookupError(), LookupError()]
    await host.start(broker)
    command = greetings.command(id=uuid4())
    await greetings.send(broker.jetstream, command)
    await eventually(lambda: _empty(broker, greetings))
    assert host.greeted == [command.id]
    assert await dead_letter(broker, command) is None


async def test_a_poison_among_a_thousand_delays_none_of_them(
    new_broker: NewBroker, greetings: Greetings, pauses: list[float]
) -> None:
    broker = new_broker()
    host = Host(greetings, LookupError("poison"))
    poison, *good = (greetings.command(id=uuid4()) for _ in range(1001))
    host.poison = poison.id
    await host.start(broker)
    await greetings.send(broker.jetstream, poison)
    for start in range(0, 1000, 200):
        await asyncio.gather(*(greetings.send(broker.jetstream, each) for each in good[start : start + 200]))
    await eventually(lambda: _empty(broker, greetings))
    assert Counter(host.greeted) == Counter(command.id for command in good)
    assert {tries for command_id, tries in host.tries.items() if command_id != poison.id} == {1}
    assert len(pauses) == 2  # the poison's own
    letter = await dead_letter(broker, poison)
    assert letter is not None
    assert (letter.headers or {})["Dead-Attempts"] == "3"


async def test_replicas_share_the_work_and_a_stopped_one_gives_back_what_it_has_not_begun(
    new_broker: NewBroker, greetings: Greetings
) -> None:
    hosts = [Host(greetings), Host(greetings)]
    brokers = [new_broker(), new_broker()]
    for host, broker in zip(hosts, brokers, strict=True):
        host.seconds = 0.005
        await host.start(broker)
    commands = [greetings.command(id=uuid4()) for _ in range(900)]
    stopping: asyncio.Task[None] | None = None
    for start in range(0, len(commands), 100):
        await asyncio.gather(*(greetings.send(brokers[1].jetstream, each) for each in commands[start : start + 100]))
        if start == 400:
            await eventually(lambda: all(host.greeted for host in hosts))
            stopping = asyncio.create_task(brokers[0].stop())
    assert stopping is not None
    await stopping
    # Well before the ack wait, after which the server would take back what a dead process has.
    await eventually(lambda: _empty(brokers[1], greetings), timeout=consumers.ACK_WAIT - 2)
    greeted = Counter(hosts[0].greeted + hosts[1].greeted)
    assert greeted.keys() == {command.id for command in commands}
    assert max(greeted.values()) == 1


async def _empty(broker: Broker, greetings: Greetings) -> bool:
    return await greetings.waiting(broker.jetstream) == 0


def test_durable_keeps_its_name_when_the_handler_is_renamed(greetings: Greetings) -> None:
    router = DurableRouter()

    @router.consume(Durable("tests-greet", greetings.command, greetings.stream))
    async def welcome(command: greetings.command) -> None:  # type: ignore[name-defined]
        raise NotImplementedError

    assert [name for _, name in durables(router.subscribers)] == ["tests-greet"]
