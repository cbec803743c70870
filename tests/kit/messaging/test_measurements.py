"""Metrics of consumers: of handlers of single messages and of batches, on a real server."""

from collections.abc import Callable, Sequence
from uuid import uuid4

import pytest
from prometheus_client import REGISTRY

from contracts.consumers import Durable
from kit.messaging.batches import Received
from kit.messaging.consumers import DurableRouter
from kit.messaging.retry import RETRY_POLICY, RetryPolicy
from kit.runtime.depends import DEPENDENCIES
from tests.kit.conftest import Greet, Greetings, NewBroker
from tests.support.polling import eventually


class Nothing:
    """The dependencies of the handlers, which have none."""


def _consume(router: DurableRouter, durable: Durable, handle: Callable[[], None]) -> None:
    @router.consume(durable)
    async def greet(command: durable.message) -> None:  # type: ignore[name-defined]
        handle()


def _consume_batch(router: DurableRouter, durable: Durable, handle: Callable[[], None]) -> None:
    @router.consume_batch(durable)
    async def greet(commands: Sequence[Received[Greet]]) -> None:
        handle()


@pytest.mark.parametrize("register", [_consume, _consume_batch])
async def test_each_way_to_consume_measures_deliveries(
    new_broker: NewBroker,
    greetings: Greetings,
    register: Callable[[DurableRouter, Durable, Callable[[], None]], None],
) -> None:
    labels = {"consumer": f"tests{register.__name__.replace('_', '-')}"}
    errors = [LookupError("not yet")]

    def fail_once() -> None:
        if errors:
            raise errors.pop()

    def read() -> dict[str, float]:
        samples = {
            "settled": ("mkstore_consume_duration_seconds_count", labels),
            "again": ("mkstore_redelivered_messages_total", labels),
            "retried": ("mkstore_consumed_messages_total", {**labels, "outcome": "retried"}),
            "handled": ("mkstore_consumed_messages_total", {**labels, "outcome": "handled"}),
        }
        return {key: REGISTRY.get_sample_value(*sample) or 0 for key, sample in samples.items()}

    router, broker = DurableRouter(), new_broker()
    register(router, Durable(labels["consumer"], greetings.command, greetings.stream), fail_once)
    broker.context.set_global(RETRY_POLICY, RetryPolicy(attempts=3, first_delay=0.02))
    broker.context.set_global(DEPENDENCIES, Nothing())
    broker.include_router(router)
    await broker.start()
    await greetings.send(broker.jetstream, greetings.command(id=uuid4()))
    wanted = {"settled": 2, "again": 1, "retried": 1, "handled": 1}
    await eventually(lambda: read() == wanted, describe=lambda: f"{read()} instead of {wanted}")
