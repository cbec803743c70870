"""Backlogs of the outbox and of the dead-letter queue, and their health warnings."""

from datetime import timedelta

import pytest
from sqlalchemy import text

from contracts.streams import DEAD, DEAD_LETTERS
from kit.errors import HealthWarning, Unavailable
from kit.messaging.broker import Broker
from kit.messaging.streams import provision
from kit.ops import backlog
from kit.outbox.relay import Relay
from tests.kit.conftest import NewBroker
from tests.support.outbox_events import OutboxSource
from tests.support.polling import eventually


async def test_old_event_in_the_outbox_is_a_warning(source: OutboxSource) -> None:
    assert await backlog.measure_outbox(source.pool) == (0, 0, 0)
    await backlog.check_outbox(source.pool, 0.01)
    await source.emit(1, 2)
    async with source.pool.begin() as connection:
        await connection.execute(text("UPDATE outbox SET occurred_at = occurred_at - interval '30 seconds'"))
    measured = await backlog.measure_outbox(source.pool)
    assert measured.rows == 2
    assert 30 <= measured.oldest_seconds < 60
    await backlog.check_outbox(source.pool, 60)
    for window, named in ((120, "within the duplicate window"), (10, "beyond the duplicate window")):
        note = await backlog.check_outbox(source.pool, 60, timedelta(seconds=window))
        assert note is not None
        assert f"{named} of {window} s" in note
    with pytest.raises(HealthWarning, match=r"The outbox holds 2 unpublished events, the oldest is 3\d s old"):
        await backlog.check_outbox(source.pool, 10)


async def test_only_one_relay_is_counted(source: OutboxSource, broker: Broker) -> None:
    await provision(broker.jetstream, [source.stream])  # without the stream, no relay keeps the lead
    assert await backlog.count_relays(source.pool) == 0
    relays = [Relay(source.address, broker, "tests", source.stream) for _ in range(2)]
    for relay in relays:
        await relay.start()
    await eventually(lambda: any(relay.leads for relay in relays))
    assert await backlog.count_relays(source.pool) == 1
    for relay in relays:
        await relay.stop()
    await eventually(lambda: _no_relay(source))


async def _no_relay(source: OutboxSource) -> bool:
    return await backlog.count_relays(source.pool) == 0


async def test_dead_letters_are_a_warning(broker: Broker, new_broker: NewBroker) -> None:
    before = await backlog.count_dead_letters(broker)
    published = await broker.jetstream.publish(f"{DEAD}tests.x", b"x")
    try:
        assert await backlog.count_dead_letters(broker) == before + 1
        with pytest.raises(HealthWarning, match="run `mkstore dead-letters list`"):
            await backlog.check_dead_letters(broker)
    finally:
        await broker.jetstream.delete_msg(DEAD_LETTERS.name, published.seq)
    with pytest.raises(Unavailable):
        await backlog.count_dead_letters(new_broker("nats://127.0.0.1:1"))
