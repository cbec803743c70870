"""The connection: it waits, it comes back, it makes again what was lost, and it goes without dropping a request."""

import asyncio
import shutil
import signal
import time
from typing import ClassVar
from uuid import uuid4

import pytest
from faststream.nats import NatsRouter

from contracts.base import Message, Request
from contracts.consumers import Durable
from kit.messaging.broker import Broker
from kit.messaging.client import RequestClient
from kit.messaging.consumers import DurableRouter
from kit.messaging.server import ReplyRouter
from mkstore.stack.servers import NatsServer
from tests.kit.conftest import Greetings, NewBroker
from tests.support.polling import eventually


async def test_a_broker_starts_before_nats_does(
    new_broker: NewBroker, own_server: NatsServer, greetings: Greetings
) -> None:
    broker = new_broker(own_server.url)
    starting = asyncio.create_task(broker.start())
    await asyncio.sleep(0.2)
    assert not starting.done()
    await asyncio.to_thread(own_server.start)
    await asyncio.wait_for(starting, 10)
    await broker.check()
    assert await greetings.waiting(broker.jetstream) == 0


async def test_a_broker_that_still_waits_for_nats_can_be_stopped(new_broker: NewBroker, own_server: NatsServer) -> None:
    broker = new_broker(own_server.url)
    starting = asyncio.create_task(broker.start())
    await asyncio.sleep(0.1)
    starting.cancel()
    await asyncio.wait_for(broker.stop(), 3)


async def test_after_nats_came_back_empty_streams_and_consumers_are_made_again_and_work_goes_on(
    new_broker: NewBroker, own_server: NatsServer, greetings: Greetings
) -> None:
    await asyncio.to_thread(own_server.start)
    broker, router, greeted = new_broker(own_server.url, repair_interval=0.1), DurableRouter(), []

    @router.consume(Durable("tests-greet", greetings.command, greetings.stream))
    async def greet(command: greetings.command) -> None:  # type: ignore[name-defined]
        greeted.append(command.id)

    broker.include_router(router)
    await broker.start()
    before, after = greetings.command(id=uuid4()), greetings.command(id=uuid4())
    await greetings.send(broker.jetstream, before)
    await eventually(lambda: greeted == [before.id])

    await asyncio.to_thread(own_server.kill)
    shutil.rmtree(own_server.folder / "store")
    await asyncio.to_thread(own_server.start)
    await eventually(broker.is_connected)
    await eventually(lambda: _is_well(broker))
    await greetings.send(broker.jetstream, after)
    await eventually(lambda: greeted == [before.id, after.id])


async def test_a_consumer_that_somebody_deleted_is_made_again(new_broker: NewBroker, greetings: Greetings) -> None:
    broker, router, greeted = new_broker(repair_interval=0.1), DurableRouter(), []

    @router.consume(Durable("tests-greet", greetings.command, greetings.stream))
    async def greet(command: greetings.command) -> None:  # type: ignore[name-defined]
        greeted.append(command.id)

    broker.include_router(router)
    await broker.start()
    await broker.jetstream.delete_consumer(greetings.stream.name, "tests-greet")
    command = greetings.command(id=uuid4())
    await greetings.send(broker.jetstream, command)
    await eventually(lambda: greeted == [command.id])


async def test_readiness_names_a_missing_stream_and_fails_without_a_connection(
    new_broker: NewBroker, own_server: NatsServer, greetings: Greetings
) -> None:
    await asyncio.to_thread(own_server.start)
    broker = new_broker(own_server.url)
    await broker.start()
    await broker.check()
    await broker.jetstream.delete_stream(greetings.stream.name)
    with pytest.raises(RuntimeError, match=greetings.stream.name):
        await broker.check()
    await asyncio.to_thread(own_server.kill)
    with pytest.raises(Exception, match=r"\w"):
        await broker.check()


async def test_a_broker_stops_while_nats_is_away(
    new_broker: NewBroker, own_server: NatsServer, greetings: Greetings
) -> None:
    await asyncio.to_thread(own_server.start)
    broker, router = new_broker(own_server.url), DurableRouter()

    @router.consume(Durable("tests-greet", greetings.command, greetings.stream))
    async def greet(_: greetings.command) -> None:  # type: ignore[name-defined]
        raise AssertionError

    broker.include_router(router)
    await broker.start()
    await asyncio.to_thread(own_server.kill)
    await eventually(lambda: not broker.is_connected())
    started = time.monotonic()
    await broker.stop()
    assert time.monotonic() - started < 3


async def test_a_process_ends_when_its_connection_is_closed_for_good(new_broker: NewBroker) -> None:
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    try:
        broker = new_broker()
        await broker.start()
        await broker.client.close()
        await asyncio.wait_for(told.wait(), 5)
    finally:
        asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)


class Answer(Message):
    number: int


class Slow(Request[Answer]):
    subject: ClassVar[str]
    number: int


def answering(requests: type[Slow], answered: list[int], workers: int) -> NatsRouter:
    router = ReplyRouter()

    @router.reply(requests, workers=workers)
    async def answer(request: requests) -> Answer:  # type: ignore[valid-type]
        await asyncio.sleep(0.05)
        answered.append(request.number)  # type: ignore[attr-defined]
        return Answer(number=request.number)  # type: ignore[attr-defined]

    return router


@pytest.mark.parametrize("workers", [1, 4, 40])
async def test_of_many_slow_requests_none_fails_while_one_of_two_replicas_stops(
    new_broker: NewBroker, broker: Broker, workers: int
) -> None:
    word = uuid4().hex

    class OwnSlow(Slow):
        subject: ClassVar[str] = f"{word}.slow"

    answered: list[list[int]] = [[], []]
    replicas = [new_broker(), new_broker()]
    for replica, own in zip(replicas, answered, strict=True):
        replica.include_router(answering(OwnSlow, own, workers))
        await replica.start()

    async def one(number: int) -> int:
        await asyncio.sleep(number / 400)
        return (await RequestClient(broker).request(OwnSlow(number=number), timeout=8)).number

    asking = [asyncio.create_task(one(number)) for number in range(40)]
    await eventually(lambda: answered[0])
    await replicas[0].stop()
    assert await asyncio.gather(*asking) == list(range(40))
    assert sorted(answered[0] + answered[1]) == list(range(40))
    assert answered[1]


async def _is_well(broker: Broker) -> bool:
    try:
        await broker.check()
    except Exception:  # noqa: BLE001 - whatever it is, it is not well yet
        return False
    return True
