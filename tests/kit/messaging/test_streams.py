"""Streams are created, updated and checked; pending commands are found in them."""

from uuid import uuid4

import pytest

from contracts.consumers import Durable
from contracts.streams import STREAMS
from kit.messaging import streams
from kit.messaging.broker import Broker
from kit.messaging.consumers import DurableRouter
from tests.kit.conftest import Greetings, NewBroker
from tests.support.polling import eventually


async def test_all_streams_are_created_and_pass_the_check(broker: Broker) -> None:
    await streams.provision(broker.jetstream, STREAMS)
    await streams.check(broker.jetstream, STREAMS)


async def test_updated_stream_keeps_its_messages(broker: Broker, greetings: Greetings) -> None:
    await greetings.send(broker.jetstream, greetings.command(id=uuid4()))
    smaller = greetings.stream.model_copy(update={"max_bytes": 1 << 20, "max_message_bytes": 1000})
    with pytest.raises(RuntimeError, match=rf"{smaller.name} has the wrong configuration.*max_bytes"):
        await streams.check(broker.jetstream, [smaller])
    await streams.provision(broker.jetstream, [smaller])
    await streams.check(broker.jetstream, [smaller])
    assert await greetings.pending(broker.jetstream) == 1


async def test_stream_that_does_not_republish_any_more_is_updated(broker: Broker, greetings: Greetings) -> None:
    await streams.provision(broker.jetstream, [greetings.stream.model_copy(update={"republish": True})])
    with pytest.raises(RuntimeError, match="republish"):
        await streams.check(broker.jetstream, [greetings.stream])
    (change,) = await streams.provision(broker.jetstream, [greetings.stream])
    assert (change.name, change.action, change.detail[:10]) == (greetings.stream.name, "updated", "republish:")
    assert await streams.provision(broker.jetstream, [greetings.stream]) == []


@pytest.mark.parametrize("provisioned_first", [True, False])
async def test_subscriber_and_provisioning_agree_on_a_consumer(
    new_broker: NewBroker, broker: Broker, greetings: Greetings, *, provisioned_first: bool
) -> None:
    durable = Durable("tests-agree", greetings.command, greetings.stream)
    router, handled = DurableRouter(), list[str]()

    @router.consume(durable)
    async def greet(command: greetings.command) -> None:  # type: ignore[name-defined]
        handled.append(command.name)

    service = new_broker()
    service.include_router(router)
    if provisioned_first:
        (change,) = await streams.provision_consumers(broker.jetstream, [durable])
        assert change == streams.Change("consumer", durable.name, "created")
    await service.start()
    assert await streams.provision_consumers(broker.jetstream, [durable]) == []
    await greetings.send(broker.jetstream, greetings.command(id=uuid4(), name="Grace"))
    await eventually(lambda: handled == ["Grace"])


async def test_consumer_that_differs_is_updated(broker: Broker, greetings: Greetings) -> None:
    durable = Durable("tests-differ", greetings.command, greetings.stream)
    await streams.provision_consumers(broker.jetstream, [durable])
    await broker.jetstream.add_consumer(greetings.stream.name, streams.consumer_config(durable, ack_wait=60))
    (change,) = await streams.provision_consumers(broker.jetstream, [durable])
    assert change == streams.Change("consumer", durable.name, "updated", "ack_wait: 60.0 -> 10.0")


async def test_check_names_a_missing_stream(broker: Broker, greetings: Greetings) -> None:
    await broker.jetstream.delete_stream(greetings.stream.name)
    with pytest.raises(RuntimeError, match=f"stream {greetings.stream.name} is missing"):
        await streams.check(broker.jetstream, [greetings.stream])
