"""Batches of commands: each command is handled, retried and dead-lettered alone, whatever becomes of the others."""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from nats.js.api import AckPolicy, ConsumerConfig
from nats.js.errors import NotFoundError

from contracts.consumers import Durable
from contracts.payments import CreatePayment, CreatePayments
from contracts.streams import DEAD_LETTERS, Stream
from kit.errors import Unavailable
from kit.messaging.batches import Received
from kit.messaging.broker import Broker
from kit.messaging.consumers import DurableRouter
from kit.messaging.retry import RETRY_POLICY, Deliveries, RetryPolicy, in_attempt_order
from kit.messaging.streams import ACK_WAIT, provision
from kit.runtime.depends import DEPENDENCIES
from kit.runtime.tracing import Trace
from mkstore.stack.servers import NatsServer
from mkstore.testing.fakes.payment_queue import batch_of
from tests.conftest import ROOT
from tests.support.payment_commands import new_commands
from tests.support.polling import eventually
from tests.support.provisioning import ProvisionedBroker

DURABLE = "tests-batches"
BATCHES = Stream(
    name="TEST_BATCHES",
    subjects=("payments.create.batch.*",),
    retention="workqueue",
    discard="new",
    duplicate_window=DEAD_LETTERS.duplicate_window,
)


class Recorder:
    """A handler of commands that fails as configured."""

    def __init__(self) -> None:
        self.calls: list[list[UUID]] = []
        self.recorded: list[UUID] = []
        self.traces: dict[UUID, Trace] = {}
        self.errors: dict[UUID, Exception] = {}
        """Raised by every call with the command."""
        self.next_errors: list[Exception] = []
        """Each is raised by one call."""

    async def __call__(self, commands: Sequence[Received[CreatePayment]]) -> None:
        ids = [each.message.id for each in commands]
        self.calls.append(ids)
        if self.next_errors:
            raise self.next_errors.pop(0)
        for each in ids:
            if each in self.errors:
                raise self.errors[each]
        self.recorded += ids
        self.traces |= {each.message.id: each.trace for each in commands}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[NatsServer]:
    """Run a nats-server for this test only: its stream has the subjects of the payments service."""
    with NatsServer(tmp_path / "nats") as server:
        yield server


@pytest.fixture
async def broker(server: NatsServer) -> AsyncIterator[Broker]:
    broker = ProvisionedBroker(server.url, name="tests", streams=[BATCHES, DEAD_LETTERS])
    yield broker
    await broker.stop()


async def start(broker: Broker, recorder: Recorder, *, ack_wait: float = ACK_WAIT) -> None:
    router = DurableRouter(ack_wait=ack_wait)

    async def record(commands: Sequence[Received[CreatePayment]]) -> None:
        await recorder(commands)

    router.consume_batch(Durable(DURABLE, CreatePayments, BATCHES))(record)
    broker.context.set_global(RETRY_POLICY, RetryPolicy(attempts=3, first_delay=0.02, max_delay=0.1))
    broker.context.set_global(DEPENDENCIES, Nothing())
    broker.include_router(router)
    await broker.start()


class Nothing:
    """Dependencies of a handler that has none."""


async def publish(broker: Broker, *commands: CreatePayment, body: bytes = b"") -> None:
    batch = batch_of(*commands)
    await broker.jetstream.publish(batch.address, body or batch.model_dump_json().encode())


async def is_empty(broker: Broker) -> bool:
    return (await broker.jetstream.stream_info(BATCHES.name)).state.messages == 0


async def dead_letters(broker: Broker, *commands: CreatePayment) -> list[Any]:
    letters: list[Any] = []
    for command in commands:
        try:
            letters.append(await broker.jetstream.get_last_msg(DEAD_LETTERS.name, f"dead.{command.address}"))
        except NotFoundError:
            letters.append(None)
    return letters


async def test_handler_gets_the_commands_of_all_messages_with_their_traces(broker: Broker) -> None:
    recorder, batches = Recorder(), [new_commands(50) for _ in range(4)]
    await broker.connect()
    await provision(broker.jetstream, [BATCHES, DEAD_LETTERS])
    for number, commands in enumerate(batches):
        items = batch_of(*commands)
        traced = items.model_copy(
            update={"items": tuple(each.model_copy(update={"request_id": f"r{number}"}) for each in items.items)}
        )
        await broker.jetstream.publish(traced.address, traced.model_dump_json().encode())
    await start(broker, recorder)
    await eventually(lambda: is_empty(broker))
    assert Counter(recorder.recorded) == Counter(each.id for commands in batches for each in commands)
    assert len(recorder.calls) < 4
    assert {recorder.traces[each.id] for each in batches[2]} == {Trace("r2")}


async def test_two_bad_commands_of_a_message_are_two_dead_letters(broker: Broker) -> None:
    recorder, commands = Recorder(), new_commands(100)
    bad = [commands[17], commands[80]]
    recorder.errors = {each.id: LookupError(f"bad {each.id}") for each in bad}
    await start(broker, recorder)
    await publish(broker, *commands)
    await eventually(lambda: is_empty(broker))
    assert Counter(recorder.recorded) == Counter(each.id for each in commands if each not in bad)
    letters = await dead_letters(broker, *bad)
    assert [CreatePayment.model_validate_json(letter.data) for letter in letters] == bad
    assert [letter.headers["Nats-Msg-Id"] for letter in letters] == [
        f"{BATCHES.name}.1.{DURABLE}.{each.id}" for each in bad
    ]
    assert [letter.headers["Dead-Detail"] for letter in letters] == [f"bad {each.id}" for each in bad]
    assert {letter.headers["Dead-Attempts"] for letter in letters} == {"3"}
    assert (await broker.jetstream.stream_info(DEAD_LETTERS.name)).state.messages == 2


async def test_invalid_command_of_a_message_is_dead_lettered_alone(broker: Broker) -> None:
    recorder, commands = Recorder(), new_commands(10)
    batch = batch_of(*commands).model_dump(mode="json")
    batch["payments"][3]["payment"]["currency"] = "XXX-of-tomorrow"
    batch["payments"][3] |= {"requestId": "r3"}
    batch["payments"][5]["payment"]["id"] = "no id"
    await start(broker, recorder)
    await publish(broker, *commands, body=json.dumps(batch).encode())
    await eventually(lambda: is_empty(broker))
    assert Counter(recorder.recorded) == Counter(each.id for each in commands if each not in (commands[3], commands[5]))
    [letter] = await dead_letters(broker, commands[3])
    assert (letter.headers["Dead-Reason"], letter.headers["X-Request-Id"]) == ("ValidationError", "r3")
    assert b"XXX-of-tomorrow" in letter.data
    unnamed = await broker.jetstream.get_last_msg(DEAD_LETTERS.name, f"dead.{batch_of(*commands).address}")
    assert b'"no id"' in (unnamed.data or b"")


@pytest.mark.parametrize("body", [b"no json", b"[]", b"{}", b'{"payments": []}', b'{"payments": 1}'])
async def test_unreadable_message_is_dead_lettered_as_it_is(broker: Broker, body: bytes) -> None:
    recorder, commands = Recorder(), new_commands(1)
    await start(broker, recorder)
    await publish(broker, *commands, body=body)
    await eventually(lambda: is_empty(broker))
    letter = await broker.jetstream.get_last_msg(DEAD_LETTERS.name, f"dead.{batch_of(*commands).address}")
    assert letter.data == body
    assert not recorder.calls


async def test_only_the_failing_command_is_retried(broker: Broker) -> None:
    recorder, commands = Recorder(), new_commands(8)
    recorder.errors = {commands[2].id: LookupError("not yet")}
    await start(broker, recorder)
    await publish(broker, *commands)
    await eventually(lambda: recorder.calls.count([commands[2].id]) == 2)
    recorder.errors = {}
    await eventually(lambda: is_empty(broker))
    assert Counter(recorder.recorded) == Counter(each.id for each in commands)
    assert await dead_letters(broker, commands[2]) == [None]


async def test_outage_is_no_fault_of_a_command(broker: Broker) -> None:
    recorder, commands = Recorder(), new_commands(50)
    recorder.next_errors = [Unavailable("database")] * 6
    await start(broker, recorder)
    await publish(broker, *commands)
    await eventually(lambda: is_empty(broker))
    assert [len(call) for call in recorder.calls] == [50] * 7
    assert Counter(recorder.recorded) == Counter(each.id for each in commands)


async def test_message_of_a_dead_process_is_handled_one_command_at_a_time(broker: Broker) -> None:
    recorder, commands = Recorder(), new_commands(20)
    await broker.connect()
    await provision(broker.jetstream, [BATCHES, DEAD_LETTERS])
    await publish(broker, *commands)
    consumer = ConsumerConfig(durable_name=DURABLE, ack_policy=AckPolicy.EXPLICIT, ack_wait=1)
    await broker.jetstream.add_consumer(BATCHES.name, consumer)
    subscription = await broker.jetstream.pull_subscribe_bind(DURABLE, BATCHES.name)
    await subscription.fetch(1)  # by a process that dies
    await start(broker, recorder, ack_wait=1)
    await eventually(lambda: is_empty(broker))
    assert recorder.calls == [[each.id] for each in commands]


async def test_command_that_kills_its_process_takes_no_other_with_it(
    broker: Broker, server: NatsServer, tmp_path: Path
) -> None:
    commands, file = new_commands(100), tmp_path / "recorded"
    poison = commands[41]
    await broker.connect()
    await provision(broker.jetstream, [BATCHES, DEAD_LETTERS])
    await publish(broker, *commands)
    starts = 0

    def recorded() -> Counter[str]:
        return Counter(file.read_text().split() if file.exists() else ())

    while len(recorded()) < 99:
        starts += 1
        assert starts <= 5, recorded()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.support.poisoned_consumer"),
            *(server.url, BATCHES.model_dump_json(), str(poison.id), str(file)),
            cwd=ROOT,
        )
        try:
            async with asyncio.timeout(60):
                await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    assert recorded().keys() == {str(each.id) for each in commands if each is not poison}
    assert not await is_empty(broker)


def test_attempts_go_forward_then_backward_then_shuffled() -> None:
    parts = list(range(100))
    assert in_attempt_order(parts, 2) == parts
    assert in_attempt_order(parts, 3) == parts[::-1]
    assert in_attempt_order(parts, 4) not in (parts, parts[::-1])
    assert sorted(in_attempt_order(parts, 4)) == parts


def test_message_is_suspect_unless_this_process_returned_it() -> None:
    deliveries = Deliveries()
    delivery = deliveries.of(("c", 1))
    assert not delivery.is_suspect(1)
    assert delivery.is_suspect(2)
    delivery.returned += 1
    assert not deliveries.of(("c", 1)).is_suspect(2)
    assert deliveries.of(("c", 1)).is_suspect(3)
    deliveries.forget(("c", 1))
    assert deliveries.of(("c", 1)).is_suspect(2)
