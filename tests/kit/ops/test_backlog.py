"""What waits is counted, and said when it waits too long."""

import asyncio

import pytest

from contracts.streams import DEAD, DEAD_LETTERS
from kit.errors import HealthWarning, Unavailable
from kit.messaging.broker import Broker
from kit.messaging.streams import provision
from kit.ops import backlog
from kit.outbox.relay import Relay
from tests.kit.conftest import NewBroker
from tests.support.outbox_events import Told
from tests.support.polling import eventually


async def test_what_waits_in_the_outbox_is_counted_and_warned_of_once_it_waits_too_long(
    told: Told, broker: Broker
) -> None:
    assert await backlog.outbox(told.pool) == (0, 0)
    await backlog.check_outbox(told.pool, 0.01)
    await told.emit(1, 2)
    await asyncio.sleep(0.2)
    found = await backlog.outbox(told.pool)
    assert found.rows == 2
    assert 0.2 <= found.oldest_seconds < 10
    await backlog.check_outbox(told.pool, 60)
    with pytest.raises(HealthWarning, match="There are 2 events in the outbox not sent yet, the first one for 0 s"):
        await backlog.check_outbox(told.pool, 0.1)


async def test_who_relays_is_counted(told: Told, broker: Broker) -> None:
    await provision(broker.jetstream, [told.stream])  # without it each would start over, again and again
    assert await backlog.relays(told.pool) == 0
    relays = [Relay(told.address, broker, "tests", told.stream) for _ in range(2)]
    for relay in relays:
        await relay.start()
    await eventually(lambda: any(relay.leads for relay in relays))
    assert await backlog.relays(told.pool) == 1
    for relay in relays:
        await relay.stop()
    await eventually(lambda: _nobody_relays(told))


async def _nobody_relays(told: Told) -> bool:
    return await backlog.relays(told.pool) == 0


async def test_dead_letters_are_counted_and_warned_of(broker: Broker, new_broker: NewBroker) -> None:
    before = await backlog.dead_letters(broker)
    sent = await broker.jetstream.publish(f"{DEAD}tests.x", b"x")
    try:
        assert await backlog.dead_letters(broker) == before + 1
        with pytest.raises(HealthWarning, match="run `mkstore dead-letters list`"):
            await backlog.check_dead_letters(broker)
    finally:
        await broker.jetstream.delete_msg(DEAD_LETTERS.name, sent.seq)
    with pytest.raises(Unavailable):
        await backlog.dead_letters(new_broker("nats://127.0.0.1:1"))
