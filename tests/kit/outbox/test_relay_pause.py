"""The relay pauses after a batch that was not full, and only then."""

from kit.messaging.broker import Broker
from kit.outbox.relay import BATCH_SIZE
from tests.kit.outbox.conftest import NEVER, StartRelay
from tests.support.outbox_events import OutboxSource
from tests.support.polling import eventually


async def test_pause_follows_a_batch_that_was_not_full(
    source: OutboxSource, broker: Broker, start_relay: StartRelay
) -> None:
    await source.emit(*range(1, 2 * BATCH_SIZE + 101))
    relay = await start_relay(broker, pace=NEVER)
    await eventually(source.all_sent)
    await source.emit(0)
    await relay.stop()
    assert await source.left() == 1
    await start_relay(broker, pace=NEVER)
    await eventually(source.all_sent)
    assert await source.numbers(broker) == [*range(1, 2 * BATCH_SIZE + 101), 0]
