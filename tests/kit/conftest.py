"""Fixtures of the kit's tests: a command with its stream, brokers, an outbox, and a separate nats-server."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import ClassVar, NamedTuple

import pytest
from nats.js import JetStreamContext

from contracts.base import Command
from contracts.streams import DEAD_LETTERS, Stream
from kit.messaging.broker import Broker
from kit.runtime.logging import configure_logging
from mkstore.stack.servers import NatsServer, PostgresServer
from tests.support.outbox_events import OutboxSource, outbox_source
from tests.support.provisioning import ProvisionedBroker
from tests.support.streams import new_stream, subject_in

configure_logging("INFO", "console")  # structlog's default takes seconds to render a traceback


class Greet(Command):
    """A command of the tests."""

    subject: ClassVar[str]
    name: str = "Ada"


class Greetings(NamedTuple):
    """A command type and its work queue, both used by one test only."""

    command: type[Greet]
    stream: Stream

    async def send(self, jetstream: JetStreamContext, command: Greet, **headers: str) -> None:
        """Publish a command to the work queue."""
        await jetstream.publish(command.address, command.model_dump_json().encode(), headers=headers or None)

    async def pending(self, jetstream: JetStreamContext) -> int:
        """Count the commands that are not acknowledged."""
        return (await jetstream.stream_info(self.stream.name)).state.messages


@pytest.fixture
async def source(postgres_server: PostgresServer) -> AsyncIterator[OutboxSource]:
    async with outbox_source(postgres_server) as source:
        yield source


@pytest.fixture
def greetings() -> Greetings:
    stream = new_stream(work_queue=True)

    class OwnGreet(Greet):
        subject: ClassVar[str] = subject_in(stream, "greet.{id}")

    return Greetings(OwnGreet, stream)


NewBroker = Callable[..., ProvisionedBroker]


@pytest.fixture
async def new_broker(nats_server: NatsServer, greetings: Greetings) -> AsyncIterator[NewBroker]:
    """Return a function that creates brokers with the test's stream; the fixture stops them."""
    async with AsyncExitStack() as stack:

        def make(url: str = nats_server.url) -> ProvisionedBroker:
            broker = ProvisionedBroker(url, name="test", streams=[greetings.stream, DEAD_LETTERS])
            stack.push_async_callback(broker.stop)
            return broker

        yield make


@pytest.fixture
async def broker(new_broker: NewBroker) -> Broker:
    """Return a started broker without subscribers."""
    broker = new_broker()
    await broker.start()
    return broker


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[NatsServer]:
    """Return a nats-server that the test starts and may kill."""
    server = NatsServer(tmp_path)
    yield server
    server.kill()
