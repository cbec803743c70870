"""Streams are created, updated and checked; pending commands are found in them."""

from uuid import uuid4

import pytest

from contracts.streams import DEAD_LETTERS, STREAMS
from kit.errors import Unavailable
from kit.messaging import streams
from kit.messaging.broker import Broker
from tests.kit.conftest import Greetings, NewBroker


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


async def test_check_names_a_missing_stream(broker: Broker, greetings: Greetings) -> None:
    await broker.jetstream.delete_stream(greetings.stream.name)
    with pytest.raises(RuntimeError, match=f"stream {greetings.stream.name} is missing"):
        await streams.check(broker.jetstream, [greetings.stream])


async def test_pending_command_is_found(broker: Broker, greetings: Greetings) -> None:
    command = greetings.command(id=uuid4(), name="Grace")
    await greetings.send(broker.jetstream, command)
    assert await streams.find(broker.jetstream, greetings.stream, greetings.command, command.id) == command
    assert await streams.find(broker.jetstream, greetings.stream, greetings.command, uuid4()) is None


async def test_dead_lettered_command_is_found_in_the_dead_letters(broker: Broker, greetings: Greetings) -> None:
    command = greetings.command(id=uuid4())
    await broker.jetstream.publish(f"dead.{command.address}", command.model_dump_json().encode())
    assert await streams.find(broker.jetstream, DEAD_LETTERS, greetings.command, command.id) == command
    assert await streams.find(broker.jetstream, greetings.stream, greetings.command, command.id) is None


async def test_invalid_pending_message_is_not_found(broker: Broker, greetings: Greetings) -> None:
    command_id = uuid4()
    await broker.jetstream.publish(greetings.command.address_of(command_id), b"no json")
    assert await streams.find(broker.jetstream, greetings.stream, greetings.command, command_id) is None


async def test_missing_stream_raises_unavailable(broker: Broker, greetings: Greetings) -> None:
    await broker.jetstream.delete_stream(greetings.stream.name)
    with pytest.raises(Unavailable):
        await streams.find(broker.jetstream, greetings.stream, greetings.command, uuid4())


async def test_closed_connection_raises_unavailable(new_broker: NewBroker, greetings: Greetings) -> None:
    broker = new_broker()
    await broker.start()
    jetstream = broker.jetstream
    await broker.stop()
    with pytest.raises(Unavailable):
        await streams.find(jetstream, greetings.stream, greetings.command, uuid4())
