"""The memory of handled commands: purged behind the acknowledgement floor, and never in the way of a new command."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig, DeliverPolicy
from nats.js.errors import APIError

from contracts.consumers import PAYMENTS_CREATE_PAYMENT, Durable
from contracts.payments import CreatePayment
from contracts.streams import KEYED_PAYMENT_COMMANDS
from kit.messaging.broker import Broker
from kit.messaging.streams import provision, provision_consumers
from kit.ops.memory import CommandMemory
from mkstore.stack.servers import NatsServer
from tests.support.payment_commands import new_command
from tests.support.polling import eventually

DAY = timedelta(hours=24)


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Broker]:
    """Run a nats-server for this test only."""
    with NatsServer(tmp_path / "nats") as server:
        broker = Broker(server.url, name="tests")
        await broker.connect()
        yield broker
        await broker.stop()


def durable_on(**limits: Any) -> Durable:
    stream = KEYED_PAYMENT_COMMANDS.model_copy(update=limits)
    return Durable(PAYMENTS_CREATE_PAYMENT.name, CreatePayment, stream)


class Keys:
    """A stream of keyed commands, and its consumer."""

    def __init__(self, broker: Broker, durable: Durable) -> None:
        self._broker = broker
        self.durable = durable
        self.now = datetime.now(UTC)

    @property
    def jetstream(self) -> JetStreamContext:
        return self._broker.jetstream

    async def provision(self) -> None:
        await provision(self.jetstream, [self.durable.stream])
        await provision_consumers(self.jetstream, [self.durable])

    def memory(self, *, max_messages: int = 1_000_000, interval: float = 3600, leads: bool = True) -> CommandMemory:
        return CommandMemory(
            self._broker,
            self.durable,
            max_messages=max_messages,
            leads=lambda: leads,
            interval=interval,
            now=lambda: self.now,
        )

    async def publish(self, count: int) -> list[CreatePayment]:
        commands = [new_command() for _ in range(count)]
        guard = {"Nats-Expected-Last-Subject-Sequence": "0"}
        for each in commands:
            await self.jetstream.publish(each.address, each.model_dump_json().encode(), headers=guard)
        return commands

    async def record(self, count: int, *, skip: int | None = None) -> None:
        """Acknowledge the next messages, without the one that has the number `skip`."""
        subscription = await self.jetstream.pull_subscribe_bind(self.durable.name, self.durable.stream.name)
        messages: list[Msg] = []
        while len(messages) < count:
            messages += await subscription.fetch(count - len(messages))
        for number, message in enumerate(messages):
            if number != skip:
                await message.ack_sync()

    async def sequences(self) -> tuple[int, int]:
        """Return the sequences of the first and the last message."""
        state = (await self.jetstream.stream_info(self.durable.stream.name)).state
        return state.first_seq, state.last_seq


@pytest.fixture
async def keys(broker: Broker) -> Keys:
    keys = Keys(broker, durable_on())
    await keys.provision()
    return keys


async def test_recorded_commands_are_purged_after_a_day(keys: Keys) -> None:
    await keys.publish(10)
    await keys.record(10)
    assert await keys.memory().purge() == 0
    await asyncio.sleep(1.1)
    later = datetime.now(UTC)
    await keys.publish(3)
    await keys.record(3)
    keys.now = later + DAY
    assert await keys.memory().purge() == 10
    assert await keys.sequences() == (11, 13)
    keys.now = later + 2 * DAY
    assert await keys.memory().purge() == 3
    assert await keys.memory().purge() == 0


async def test_nothing_above_the_acknowledgement_floor_is_purged(keys: Keys) -> None:
    await keys.publish(20)
    await keys.record(10, skip=6)
    keys.now += 2 * DAY
    assert await keys.memory(max_messages=1).purge() == 6
    assert await keys.sequences() == (7, 20)
    assert await keys.memory(max_messages=1).purge() == 0


async def test_nothing_is_purged_without_a_consumer_of_everything(broker: Broker) -> None:
    keys = Keys(broker, durable_on())
    await provision(broker.jetstream, [keys.durable.stream])
    await keys.publish(5)
    new_only = ConsumerConfig(durable_name=keys.durable.name, deliver_policy=DeliverPolicy.NEW)
    await broker.jetstream.add_consumer(keys.durable.stream.name, new_only)
    keys.now += 2 * DAY
    assert await keys.memory().purge() == 0
    assert await keys.sequences() == (1, 5)


async def test_newest_commands_within_the_limit_stay(keys: Keys) -> None:
    await keys.publish(30)
    await keys.record(30)
    assert await keys.memory(max_messages=10).purge() == 20
    assert await keys.sequences() == (21, 30)


@pytest.mark.parametrize("limits", [{"max_messages": 40}, {"max_bytes": 40 * 400}], ids=str)
async def test_full_stream_is_purged_and_never_refuses(broker: Broker, limits: dict[str, int]) -> None:
    keys = Keys(broker, durable_on(**limits))
    await keys.provision()
    for _ in range(10):  # ten times what the stream may hold
        await keys.publish(15)
        await keys.record(15)
        while await keys.memory().purge():
            pass
    first, last = await keys.sequences()
    assert last == 150
    assert 10 <= last - first + 1 < 30


async def test_unrecorded_commands_are_kept_and_new_ones_refused_when_full(broker: Broker) -> None:
    keys = Keys(broker, durable_on(max_messages=20))
    await keys.provision()
    await keys.publish(20)
    assert await keys.memory().purge() == 0
    with pytest.raises(APIError, match="maximum messages exceeded"):
        await keys.publish(1)
    await keys.record(20)
    assert await keys.memory().purge() == 10
    await keys.publish(1)


async def test_only_the_leader_purges(keys: Keys) -> None:
    await keys.publish(30)
    await keys.record(30)
    follower, leader = (keys.memory(max_messages=10, interval=0.01, leads=leads) for leads in (False, True))
    await follower.purging.start()
    await asyncio.sleep(0.1)
    assert await keys.sequences() == (1, 30)
    await leader.purging.start()
    await eventually(lambda: _is_purged(keys))
    for each in (leader, follower):
        await each.purging.stop()


async def _is_purged(keys: Keys) -> bool:
    return await keys.sequences() == (21, 30)


async def test_memory_says_how_far_back_it_reaches(keys: Keys) -> None:
    memory = keys.memory()
    assert await memory.describe() == "0 commands are remembered."
    before = datetime.now(UTC).replace(microsecond=0)
    await keys.publish(2)
    text = await memory.describe()
    assert text.startswith("2 commands are remembered, back to ")
    assert before <= datetime.fromisoformat(text[35:-2] + "+00:00") <= datetime.now(UTC)


def test_stream_without_a_memory_is_refused(broker: Broker) -> None:
    with pytest.raises(ValueError, match="not a memory"):
        Keys(broker, durable_on(memory=None)).memory()
