"""A command and a stream for each test, and brokers that are stopped at its end."""

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
from kit.messaging.broker import REPAIR_INTERVAL, Broker
from kit.runtime.logging import configure_logging
from mkstore.stack.servers import NatsServer, PostgresServer
from tests.support.outbox_events import OutboxSource, outbox_source

configure_logging("INFO", "console")  # structlog's default takes seconds to render a traceback


class Greet(Command):
    """The command that the tests send."""

    subject: ClassVar[str]
    name: str = "Ada"


class Greetings(NamedTuple):
    """A command type and its work queue, both for one test."""

    command: type[Greet]
    stream: Stream

    async def send(self, jetstream: JetStreamContext, command: Greet, **headers: str) -> None:
        """Publish a command to the work queue."""
        await jetstream.publish(command.address, command.model_dump_json().encode(), headers=headers or None)

    async def waiting(self, jetstream: JetStreamContext) -> int:
        """Count the commands that are not acknowledged."""
        return (await jetstream.stream_info(self.stream.name)).state.messages


@pytest.fixture
async def source(postgres_server: PostgresServer) -> AsyncIterator[OutboxSource]:
    async with outbox_source(postgres_server) as made:
        yield made


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
    """Create brokers with the test's stream; the test starts them, the fixture stops them."""
    async with AsyncExitStack() as stack:

        def make(url: str = nats_server.url, *, repair_interval: float = REPAIR_INTERVAL) -> Broker:
            streams = [greetings.stream, DEAD_LETTERS]
            broker = Broker(url, name="test", streams=streams, repair_interval=repair_interval)
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
    """A NATS server that only this test uses, and may kill; the test starts it."""
    server = NatsServer(tmp_path)
    yield server
    server.kill()
