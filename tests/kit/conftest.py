"""A stream with a command of its own for each test, and brokers that are stopped at its end."""

import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from datetime import timedelta
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

configure_logging("INFO", "console")  # structlog's own default renders each traceback for seconds


class Greet(Command):
    """What the tests order."""

    subject: ClassVar[str]
    name: str = "Ada"


class Greetings(NamedTuple):
    """A command and the stream that it waits in, both of this test alone."""

    command: type[Greet]
    stream: Stream

    async def send(self, jetstream: JetStreamContext, command: Greet, **headers: str) -> None:
        """Put a command into the stream."""
        await jetstream.publish(command.address, command.model_dump_json().encode(), headers=headers or None)

    async def waiting(self, jetstream: JetStreamContext) -> int:
        """Count the commands that nobody has acked."""
        return (await jetstream.stream_info(self.stream.name)).state.messages


@pytest.fixture
async def source(postgres_server: PostgresServer) -> AsyncIterator[OutboxSource]:
    async with outbox_source(postgres_server) as source:
        yield source


@pytest.fixture
def greetings() -> Greetings:
    word = f"t{secrets.token_hex(4)}"

    class OwnGreet(Greet):
        subject: ClassVar[str] = f"{word}.greet.{{id}}"

    stream = Stream(
        name=word.upper(),
        subjects=(f"{word}.greet.*",),
        retention="workqueue",
        discard="new",
        duplicate_window=timedelta(minutes=2),
    )
    return Greetings(OwnGreet, stream)


NewBroker = Callable[..., Broker]


@pytest.fixture
async def new_broker(nats_server: NatsServer, greetings: Greetings) -> AsyncIterator[NewBroker]:
    """Make a broker that keeps this test's stream, started by the test and stopped at its end."""
    async with AsyncExitStack() as stack:

        def make(url: str = nats_server.url) -> Broker:
            broker = Broker(url, name="test", streams=[greetings.stream, DEAD_LETTERS])
            stack.push_async_callback(broker.stop)
            return broker

        yield make


@pytest.fixture
async def broker(new_broker: NewBroker) -> Broker:
    """Return a started broker that nobody is subscribed on."""
    broker = new_broker()
    await broker.start()
    return broker


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[NatsServer]:
    """A server for one test, which may kill it; it is started by the test."""
    server = NatsServer(tmp_path)
    yield server
    server.kill()
