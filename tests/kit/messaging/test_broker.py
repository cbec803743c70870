"""The connection to NATS: start, reconnect, missing streams and consumers, and a stop without lost requests."""

import asyncio
import shutil
import signal
from typing import ClassVar
from uuid import UUID, uuid4

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from contracts.base import Message, Request
from contracts.consumers import Durable
from kit.messaging.broker import Broker
from kit.messaging.client import RequestClient
from kit.messaging.consumers import DurableRouter
from kit.messaging.server import ReplyRouter
from kit.messaging.streams import consumer_config, provision_consumers
from mkstore.stack.servers import NatsServer
from tests.kit.conftest import Greetings, NewBroker
from tests.support.polling import eventually
from tests.support.provisioning import ProvisionedBroker

_DEADLINE = 30
"""Seconds after which a test fails that waits for the broker."""


async def test_broker_waits_for_nats_at_the_start(
    new_broker: NewBroker, own_server: NatsServer, greetings: Greetings
) -> None:
    broker = new_broker(own_server.url)
    with capture_logs() as logs:
        starting = asyncio.create_task(broker.start())
        await eventually(lambda: len(_attempts(logs)) > 1)
    assert {each["servers"] for each in _attempts(logs)} == {f"127.0.0.1:{own_server.port} (NATS_URL)"}
    assert not starting.done()
    await asyncio.to_thread(own_server.start)
    await asyncio.wait_for(starting, _DEADLINE)
    await broker.check()
    assert await greetings.pending(broker.jetstream) == 0


async def test_broker_that_waits_for_nats_can_be_stopped(new_broker: NewBroker, own_server: NatsServer) -> None:
    broker = new_broker(own_server.url)
    with capture_logs() as logs:
        starting = asyncio.create_task(broker.start())
        await eventually(lambda: _attempts(logs))
    starting.cancel()
    await asyncio.wait_for(broker.stop(), _DEADLINE)


def _attempts(logs: list[EventDict]) -> list[EventDict]:
    """Return the logged attempts to connect."""
    return [entry for entry in logs if entry["event"] == "NATS error"]


def _greeter(greetings: Greetings) -> tuple[DurableRouter, list[UUID]]:
    """Return a router that consumes the test's commands, and the ids of those that it has handled."""
    router, greeted = DurableRouter(), list[UUID]()

    @router.consume(Durable("tests-greet", greetings.command, greetings.stream))
    async def greet(command: greetings.command) -> None:  # type: ignore[name-defined]
        greeted.append(command.id)

    return router, greeted


async def test_service_goes_on_once_an_empty_nats_is_provisioned(
    new_broker: NewBroker, own_server: NatsServer, greetings: Greetings
) -> None:
    await asyncio.to_thread(own_server.start)
    broker, (router, greeted) = new_broker(own_server.url), _greeter(greetings)
    broker.include_router(router)
    await broker.start()
    before, after = greetings.command(id=uuid4()), greetings.command(id=uuid4())
    await greetings.send(broker.jetstream, before)
    await eventually(lambda: greeted == [before.id])

    await asyncio.to_thread(own_server.kill)
    shutil.rmtree(own_server.folder / "store")
    await asyncio.to_thread(own_server.start)
    await eventually(broker.is_connected)
    with pytest.raises(RuntimeError, match=f"stream {greetings.stream.name} is missing: run `mkstore provision`"):
        await broker.check()
    await broker.provision()
    await broker.check()
    await greetings.send(broker.jetstream, after)
    await eventually(lambda: greeted == [before.id, after.id])


async def test_service_that_starts_before_provisioning_goes_on_by_itself(
    own_server: NatsServer, greetings: Greetings
) -> None:
    """Also the first command that is sent then is consumed: nothing has to be restarted."""
    await asyncio.to_thread(own_server.start)
    (router, greeted), streams = _greeter(greetings), [greetings.stream]
    service = Broker(own_server.url, name="test", streams=streams)
    service.include_router(router)
    operator = ProvisionedBroker(own_server.url, streams=streams)
    try:
        with capture_logs() as logs:
            await service.start()
        assert [each["reason"] for each in logs if each["event"] == "NATS is not ready for this service"] == [
            f"stream {greetings.stream.name} is missing: run `mkstore provision`."
        ]
        await operator.start()
        with pytest.raises(
            RuntimeError, match=r"consumer tests-greet of stream .* is missing: run `mkstore provision`"
        ):
            await service.check()
        await provision_consumers(operator.jetstream, [Durable("tests-greet", greetings.command, greetings.stream)])
        command = greetings.command(id=uuid4())
        await greetings.send(operator.jetstream, command)
        await eventually(lambda: greeted == [command.id])
        await service.check()
    finally:
        await service.stop()
        await operator.stop()


async def test_deleted_consumer_is_named_until_it_is_provisioned(new_broker: NewBroker, greetings: Greetings) -> None:
    broker, (router, greeted) = new_broker(), _greeter(greetings)
    broker.include_router(router)
    await broker.start()
    await broker.jetstream.delete_consumer(greetings.stream.name, "tests-greet")
    command = greetings.command(id=uuid4())
    await greetings.send(broker.jetstream, command)
    with pytest.raises(RuntimeError, match=r"consumer tests-greet of stream .* is missing"):
        await broker.check()
    await broker.provision()
    await eventually(lambda: greeted == [command.id])


async def test_consumer_with_another_configuration_is_named(new_broker: NewBroker, greetings: Greetings) -> None:
    broker, (router, _) = new_broker(), _greeter(greetings)
    broker.include_router(router)
    await broker.start()
    durable = Durable("tests-greet", greetings.command, greetings.stream)
    await broker.jetstream.add_consumer(greetings.stream.name, consumer_config(durable, ack_wait=60))
    with pytest.raises(RuntimeError, match=r"tests-greet .* \(ack_wait: 60.0 -> 10.0\): run `mkstore provision`"):
        await broker.check()


async def test_check_names_a_missing_stream_and_fails_without_a_connection(
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


@pytest.mark.parametrize("is_noticed", [True, False])
async def test_broker_stops_without_a_drain_while_nats_is_down(
    new_broker: NewBroker, own_server: NatsServer, greetings: Greetings, is_noticed: bool
) -> None:
    class OwnSlow(Slow):
        subject: ClassVar[str] = f"{uuid4().hex}.slow"

    await asyncio.to_thread(own_server.start)
    broker, (router, _) = new_broker(own_server.url), _greeter(greetings)
    broker.include_router(router)
    broker.include_router(_slow_server(OwnSlow, [], workers=1))
    await broker.start()
    if is_noticed:
        await asyncio.to_thread(own_server.kill)
        await eventually(lambda: not broker.is_connected())
    else:
        own_server.kill()  # the event loop stands still, and stop() meets a connection that nothing has read from
    with capture_logs() as logs:
        await asyncio.wait_for(broker.stop(), _DEADLINE)
    assert "requests left without a reply" not in {entry["event"] for entry in logs}  # the end of a drain's timeout


async def test_process_is_terminated_when_its_connection_is_closed_for_good(new_broker: NewBroker) -> None:
    terminated = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, terminated.set)
    try:
        broker = new_broker()
        await broker.start()
        await broker.client.close()
        await asyncio.wait_for(terminated.wait(), _DEADLINE)
    finally:
        asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)


class Echo(Message):
    number: int


class Slow(Request[Echo]):
    subject: ClassVar[str]
    number: int


def _slow_server(requests: type[Slow], replied: list[int], workers: int) -> ReplyRouter:
    """Return a router that replies slowly and appends the number of each request to `replied`."""
    router = ReplyRouter()

    @router.reply(requests, workers=workers)
    async def echo(request: requests) -> Echo:  # type: ignore[valid-type]
        await asyncio.sleep(0.05)
        replied.append(request.number)  # type: ignore[attr-defined]
        return Echo(number=request.number)  # type: ignore[attr-defined]

    return router


@pytest.mark.parametrize("workers", [1, 4, 40])
async def test_no_request_fails_while_one_of_two_replicas_stops(
    new_broker: NewBroker, broker: Broker, workers: int
) -> None:
    class OwnSlow(Slow):
        subject: ClassVar[str] = f"{uuid4().hex}.slow"

    replied: list[list[int]] = [[], []]
    replicas = [new_broker(), new_broker()]
    for replica, numbers in zip(replicas, replied, strict=True):
        replica.include_router(_slow_server(OwnSlow, numbers, workers))
        await replica.start()

    async def request(number: int) -> int:
        await asyncio.sleep(number / 400)
        return (await RequestClient(broker).request(OwnSlow(number=number), timeout=_DEADLINE)).number

    requests = [asyncio.create_task(request(number)) for number in range(40)]
    await eventually(lambda: replied[0])
    await replicas[0].stop()
    assert await asyncio.gather(*requests) == list(range(40))
    assert sorted(replied[0] + replied[1]) == list(range(40))
    assert replied[1]


async def test_request_that_arrives_during_the_unsubscription_gets_a_reply(
    new_broker: NewBroker, broker: Broker, nats_server: NatsServer
) -> None:
    """The server sends requests until it has read the unsubscription, which a proxy delays here."""

    class OwnSlow(Slow):
        subject: ClassVar[str] = f"{uuid4().hex}.slow"

    held, release, replied = asyncio.Event(), asyncio.Event(), list[int]()

    async def forward(client: asyncio.StreamReader, client_writer: asyncio.StreamWriter) -> None:
        server, server_writer = await asyncio.open_connection("127.0.0.1", nats_server.port)

        async def to_server() -> None:
            while data := await client.read(1 << 16):
                before, unsubscription, after = data.partition(b"UNSUB ")
                server_writer.write(before)
                if unsubscription:
                    held.set()
                    await release.wait()
                    server_writer.write(unsubscription + after)
            server_writer.close()

        async def to_client() -> None:
            while data := await server.read(1 << 16):
                client_writer.write(data)
            client_writer.close()

        await asyncio.gather(to_server(), to_client())

    async with await asyncio.start_server(forward, "127.0.0.1", 0) as proxy:
        port = proxy.sockets[0].getsockname()[1]
        replica = new_broker(nats_server.url.replace(f":{nats_server.port}", f":{port}"))
        replica.include_router(_slow_server(OwnSlow, replied, workers=4))
        await replica.start()
        stopping = asyncio.create_task(replica.stop())
        await held.wait()
        await asyncio.sleep(0.05)  # in which the stopping replica would forget its subscription
        request = asyncio.create_task(RequestClient(broker).request(OwnSlow(number=1), timeout=_DEADLINE))
        await eventually(lambda: replied == [1], timeout=_DEADLINE)
        release.set()
        assert (await request).number == 1
        await stopping


async def test_message_that_nobody_reads_does_not_delay_the_end(new_broker: NewBroker) -> None:
    """nats-py waits 30 s for each subscription to become empty, by default: longer than Kubernetes waits for a pod."""
    broker, subject = new_broker(), f"t{uuid4().hex}"
    await broker.start()
    unread = await broker.client.subscribe(subject)
    await broker.client.publish(subject, b"")
    await eventually(lambda: unread.pending_msgs == 1)
    stopping = asyncio.create_task(broker.stop())
    done, _ = await asyncio.wait([stopping], timeout=10)
    assert done
