"""Public keys on a real stream: an older set never replaces a newer one."""

from collections.abc import AsyncIterator

import pytest
from nats.errors import Error as NatsError

from apps.users.key_publication import ReadKeys, publisher
from contracts.keys import PublicKeys
from contracts.streams import PUBLIC_KEYS
from kit.errors import Unavailable
from kit.messaging.broker import Broker
from kit.messaging.streams import provision
from mkstore.stack.servers import NatsServer
from mkstore.testing.signing_keys import signing_key
from tests.support.service_processes import connect

OLD, NEW = (PublicKeys(keys=tuple(signing_key(number).view() for number in numbers)) for numbers in ([0], [1, 0]))


@pytest.fixture
async def broker(nats_server: NatsServer) -> AsyncIterator[Broker]:
    """Return a connection to a server whose stream of keys is empty."""
    async with connect(nats_server.url) as connected:
        await provision(connected.jetstream, [PUBLIC_KEYS])
        await connected.jetstream.purge_stream(PUBLIC_KEYS.name)
        yield connected
        await provision(connected.jetstream, [PUBLIC_KEYS])


def reading(*sets: PublicKeys) -> ReadKeys:
    """Return a function that returns these sets in turn, and the last one from then on."""
    left = list(sets)

    async def read() -> PublicKeys:
        return left.pop(0) if len(left) > 1 else left[0]

    return read


async def stored(broker: Broker) -> PublicKeys:
    last = await broker.jetstream.get_last_msg(PUBLIC_KEYS.name, PublicKeys.subject)
    return PublicKeys.model_validate_json(last.data or b"")


async def last_sequence(broker: Broker) -> int:
    return int((await broker.jetstream.stream_info(PUBLIC_KEYS.name)).state.last_seq)


async def test_unchanged_keys_are_not_published_again(broker: Broker) -> None:
    publish = publisher(broker)
    assert not await publish(reading(OLD))
    before = await last_sequence(broker)
    assert await publish(reading(OLD))
    assert await last_sequence(broker) == before
    assert not await publish(reading(NEW))
    assert await stored(broker) == NEW
    assert (await broker.jetstream.stream_info(PUBLIC_KEYS.name)).state.messages == 1


async def test_an_older_set_never_replaces_a_newer_one(broker: Broker) -> None:
    """A slow publisher has read the old set when a fast one publishes the new set."""
    publish = publisher(broker)
    await publish(reading(OLD))
    sent: list[PublicKeys] = []
    current = reading(OLD, NEW)

    async def read_slowly() -> PublicKeys:
        keys = await current()
        if not sent:
            sent.append(keys)
            await publisher(broker)(reading(NEW))
            return PublicKeys(keys=())  # differs from what is stored, so that it is sent
        sent.append(keys)
        return keys

    before = await last_sequence(broker)
    assert await publish(read_slowly)
    assert sent == [OLD, NEW]
    assert await stored(broker) == NEW
    assert await last_sequence(broker) == before + 1


async def test_a_lost_stream_gets_the_keys_again(broker: Broker) -> None:
    publish = publisher(broker)
    await publish(reading(NEW))
    await broker.jetstream.delete_stream(PUBLIC_KEYS.name)
    with pytest.raises(NatsError):
        await publish(reading(NEW))
    await provision(broker.jetstream, [PUBLIC_KEYS])
    assert not await publish(reading(NEW))
    assert await stored(broker) == NEW


async def test_without_a_connection_nothing_waits_in_the_client(nats_server: NatsServer) -> None:
    with pytest.raises(Unavailable):
        await publisher(Broker(nats_server.url, name="tests"))(reading(NEW))
