"""A consumer whose messages fail pauses, and tries again later."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from contracts.streams import DEAD_LETTERS
from kit.errors import HealthWarning, NonRetryable, Unavailable
from kit.messaging.broker import Broker
from kit.messaging.delivery.breaker import BREAKERS, MINIMUM, TRIAL, Breaker, Breakers
from mkstore.stack.servers import NatsServer
from tests.kit.messaging.test_batches import BATCHES, DURABLE, Recorder, is_empty, publish, start
from tests.support.payment_commands import new_commands
from tests.support.polling import eventually
from tests.support.provisioning import ProvisionedBroker

PAUSE = 30.0


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker("tests", 0.5, PAUSE, now=clock)


def fail(breaker: Breaker, times: int) -> float:
    paused = 0.0
    for _ in range(times):
        breaker.delay()
        paused = breaker.record(succeeded=0, failed=1)
    return paused


def test_few_failures_do_not_open(breaker: Breaker) -> None:
    assert fail(breaker, MINIMUM - 1) == 0
    assert not breaker.is_open
    assert fail(breaker, 1) == PAUSE
    assert breaker.is_open


def test_small_share_of_failures_does_not_open(breaker: Breaker) -> None:
    for _ in range(50):
        assert breaker.record(succeeded=2, failed=1) == 0
    assert breaker.delay() == 0


def test_outages_and_stops_are_no_outcomes(breaker: Breaker) -> None:
    for _ in range(100):
        assert breaker.record(succeeded=0, failed=0) == 0


def test_pause_ends_with_one_message_at_a_time(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, MINIMUM)
    clock.now += 10
    assert breaker.delay() == PAUSE - 10
    clock.now += 20
    assert breaker.delay() == 0
    assert breaker.delay() == 1  # until the first one has an outcome
    breaker.record(succeeded=1, failed=0)
    assert breaker.delay() == 0


def test_trial_that_fails_pauses_twice_as_long_up_to_eight_times(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, MINIMUM)
    pauses = []
    for _ in range(5):
        clock.now += 10 * PAUSE
        pauses.append(fail(breaker, TRIAL))
    assert pauses == [2 * PAUSE, 4 * PAUSE, 8 * PAUSE, 8 * PAUSE, 8 * PAUSE]


def test_trial_that_succeeds_closes(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, MINIMUM)
    clock.now += PAUSE
    assert breaker.delay() == 0
    breaker.record(succeeded=TRIAL, failed=0)
    assert [breaker.delay() for _ in range(3)] == [0, 0, 0]
    assert fail(breaker, MINIMUM - TRIAL) == PAUSE  # not twice as long


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Broker]:
    with NatsServer(tmp_path / "nats") as server:
        broker = ProvisionedBroker(server.url, streams=[BATCHES, DEAD_LETTERS])
        yield broker
        await broker.stop()


async def dead_letters(broker: Broker) -> int:
    return (await broker.jetstream.stream_info(DEAD_LETTERS.name)).state.messages


async def test_failing_messages_wait_instead_of_filling_the_dead_letters(broker: Broker) -> None:
    recorder, commands = Recorder(), new_commands(3 * MINIMUM)
    recorder.errors = {each.id: NonRetryable("a bug") for each in commands}
    breakers = Breakers(0.5, pause=1.0)
    broker.context.set_global(BREAKERS, breakers)
    await start(broker, recorder)
    for command in commands:
        await publish(broker, command)
    await eventually(lambda: breakers.of(DURABLE).is_open)
    with pytest.raises(HealthWarning, match=DURABLE):
        await breakers.check()
    assert await dead_letters(broker) < MINIMUM
    recorder.errors.clear()  # the bug is mended
    await eventually(lambda: is_empty(broker))
    await breakers.check()
    assert await dead_letters(broker) + len(set(recorder.recorded)) == len(commands)
    assert len(set(recorder.recorded)) > 2 * MINIMUM


async def test_outage_does_not_pause(broker: Broker) -> None:
    recorder, commands = Recorder(), new_commands(2 * MINIMUM)
    recorder.next_errors += [Unavailable("database")] * 3 * MINIMUM
    breakers = Breakers(0.5, pause=60)
    broker.context.set_global(BREAKERS, breakers)
    await start(broker, recorder)
    await asyncio.gather(*(publish(broker, command) for command in commands))
    await eventually(lambda: is_empty(broker))
    assert sorted(recorder.recorded) == sorted(each.id for each in commands)
