"""Finding stored messages by their subjects."""

from uuid import uuid4

import pytest
from nats.aio.msg import Msg

from contracts.streams import DEAD_LETTERS
from kit.errors import Unavailable
from kit.messaging.broker import Broker
from kit.messaging.reader import last_bodies
from tests.kit.conftest import Greetings, NewBroker


async def test_last_message_of_each_subject_is_found(broker: Broker, greetings: Greetings) -> None:
    commands = [greetings.command(id=uuid4(), name=f"name {number}") for number in range(120)]
    for command in commands:
        await greetings.send(broker.jetstream, command)
    again = commands[0].model_copy(update={"name": "another"})
    await greetings.send(broker.jetstream, again)
    unknown = greetings.command.address_of(uuid4())
    found = await last_bodies(broker.jetstream, greetings.stream, {unknown, *(each.address for each in commands)})
    assert found == {each.address: each.model_dump_json().encode() for each in (again, *commands[1:])}


async def test_dead_letter_is_found_in_the_dead_letters(broker: Broker, greetings: Greetings) -> None:
    command = greetings.command(id=uuid4())
    await broker.jetstream.publish(f"dead.{command.address}", b"x")
    assert await last_bodies(broker.jetstream, DEAD_LETTERS, [f"dead.{command.address}"]) == {
        f"dead.{command.address}": b"x"
    }
    assert await last_bodies(broker.jetstream, greetings.stream, [command.address]) == {}


@pytest.mark.parametrize("replicas", [1, 3])
async def test_nothing_is_found_in_an_empty_stream(broker: Broker, greetings: Greetings, replicas: int) -> None:
    addresses = [greetings.command.address_of(uuid4())]
    assert await last_bodies(broker.jetstream, greetings.stream, addresses, replicas=replicas) == {}
    assert await last_bodies(broker.jetstream, greetings.stream, []) == {}


async def test_what_a_replica_lacks_is_found_at_the_leader(broker: Broker, greetings: Greetings) -> None:
    command = greetings.command(id=uuid4())
    await greetings.send(broker.jetstream, command)
    client = broker.client

    async def answer_as_a_replica_that_lags_behind(message: Msg) -> None:
        await client.publish(message.reply, headers={"Status": "404"})

    async def pass_on_to_the_leader(message: Msg) -> None:
        request = message.subject.removeprefix("STALE.API.")
        answer = await client.request(f"$JS.API.{request}", message.data)
        await message.respond(answer.data)

    await client.subscribe("STALE.API.DIRECT.GET.>", cb=answer_as_a_replica_that_lags_behind)
    await client.subscribe("STALE.API.STREAM.MSG.GET.>", cb=pass_on_to_the_leader)
    stale, addresses = client.jetstream(prefix="STALE.API"), [command.address, greetings.command.address_of(uuid4())]
    assert await last_bodies(stale, greetings.stream, addresses) == {}
    found = await last_bodies(stale, greetings.stream, addresses, replicas=3)
    assert found == {command.address: command.model_dump_json().encode()}


async def test_missing_stream_raises_unavailable(broker: Broker, greetings: Greetings) -> None:
    await broker.jetstream.delete_stream(greetings.stream.name)
    with pytest.raises(Unavailable):
        await last_bodies(broker.jetstream, greetings.stream, [greetings.command.address_of(uuid4())])


async def test_closed_connection_raises_unavailable(new_broker: NewBroker, greetings: Greetings) -> None:
    broker = new_broker()
    await broker.start()
    jetstream = broker.jetstream
    await broker.stop()
    with pytest.raises(Unavailable):
        await last_bodies(jetstream, greetings.stream, [greetings.command.address_of(uuid4())])
