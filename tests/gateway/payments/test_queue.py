"""The queue of payment commands: what it publishes, and how it finds a pending command."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import pytest
from faststream.nats import PubAck
from nats.errors import ConnectionClosedError, NoRespondersError
from nats.errors import TimeoutError as NatsTimeout
from nats.js.errors import APIError, NoStreamResponseError

from apps.gateway.payments.queue import JetStreamPaymentQueue
from contracts.payments import CreatePayment
from kit.errors import OutcomeUnknown, Unavailable
from kit.messaging.broker import Broker
from kit.runtime.tracing import Trace, trace
from tests.support.acceptance_harness import ScriptedBroker, command

CONCURRENT = 200
TIMEOUT = 60.0


def queue_of(broker: ScriptedBroker) -> JetStreamPaymentQueue:
    return JetStreamPaymentQueue(broker, TIMEOUT)


@contextmanager
def traced(request: Trace) -> Iterator[None]:
    token = trace.set(request)
    yield
    trace.reset(token)


@pytest.mark.parametrize("if_new", [True, False])
async def test_command_is_published_with_message_id_and_trace(*, if_new: bool) -> None:
    broker = ScriptedBroker(ack=PubAck(stream="PAYMENT_COMMANDS", seq=1))
    published = command()
    with traced(Trace("a request", "a parent")):
        assert await queue_of(broker).publish(published, if_new=if_new)
    [(body, subject, options)] = broker.published
    assert CreatePayment.model_validate_json(body) == published
    assert subject == f"payments.create.{published.id}"
    assert (options["stream"], options["timeout"]) == ("PAYMENT_COMMANDS", TIMEOUT)
    expected = {"Nats-Expected-Last-Subject-Sequence": "0"} if if_new else {}
    assert options["headers"] == expected | {
        "content-type": "application/json",
        "Nats-Msg-Id": str(published.id),
        "X-Request-Id": "a request",
        "traceparent": "a parent",
    }


@pytest.mark.parametrize(
    "ack", [PubAck(stream="PAYMENT_COMMANDS", seq=1, duplicate=True), APIError(code=400, err_code=10071)]
)
async def test_duplicate_command_is_reported(ack: PubAck | Exception) -> None:
    assert not await queue_of(ScriptedBroker(ack=ack)).publish(command(), if_new=True)


@pytest.mark.parametrize(
    ("failure", "raised", "what"),
    [
        (APIError(code=503, err_code=10077), Unavailable, "payment queue"),
        (APIError(code=503, err_code=10023), Unavailable, "message broker"),
        (NoStreamResponseError(), Unavailable, "message broker"),
        (NoRespondersError(), Unavailable, "message broker"),
        (ConnectionClosedError(), Unavailable, "message broker"),
        (NatsTimeout(), OutcomeUnknown, "message broker"),
    ],
)
async def test_failed_publish_is_refused(failure: Exception, raised: type[Exception], what: str) -> None:
    with pytest.raises(raised, match=what):
        await queue_of(ScriptedBroker(ack=failure)).publish(command(), if_new=True)


async def test_nothing_is_buffered_without_a_connection() -> None:
    broker = ScriptedBroker()
    broker.connected = False
    with pytest.raises(Unavailable, match="message broker"):
        await queue_of(broker).publish(command(), if_new=True)
    assert not broker.published


class SlowStream:
    """Replies to a direct get with the content at the time of the request, a little later."""

    def __init__(self) -> None:
        self.commands: dict[str, CreatePayment] = {}
        self.requests = 0
        self.requested = asyncio.Event()
        self.go = asyncio.Event()
        self.go.set()

    async def get_last_msg(self, stream: str, subject: str, direct: bool) -> Any:
        assert (stream, direct) == ("PAYMENT_COMMANDS", True)
        self.requests += 1
        stored = self.commands.get(subject)
        self.requested.set()
        await asyncio.sleep(0.01)
        await self.go.wait()
        return SimpleNamespace(data=stored.model_dump_json().encode() if stored else b"")


def queue_on(stream: SlowStream, timeout: float = TIMEOUT) -> JetStreamPaymentQueue:
    return JetStreamPaymentQueue(cast(Broker, SimpleNamespace(jetstream=stream)), timeout)


@pytest.fixture
def stream() -> SlowStream:
    return SlowStream()


@pytest.fixture
def queue(stream: SlowStream) -> JetStreamPaymentQueue:
    return queue_on(stream)


async def test_concurrent_lookups_of_one_command_are_one_request(
    queue: JetStreamPaymentQueue, stream: SlowStream
) -> None:
    stored = command()
    stream.commands[stored.address] = stored
    results = await asyncio.gather(*(queue.find_pending(stored.id) for _ in range(CONCURRENT)))
    assert results == [stored] * CONCURRENT
    assert stream.requests == 1


async def test_each_lookup_returns_its_own_command(queue: JetStreamPaymentQueue, stream: SlowStream) -> None:
    commands = [command(key=f"key {number}") for number in range(20)]
    stream.commands = {one.address: one for one in commands[:10]}
    results = await asyncio.gather(*(queue.find_pending(one.id) for one in commands))
    assert results == [*commands[:10], *[None] * 10]


async def test_lookup_does_not_join_one_that_has_begun(queue: JetStreamPaymentQueue, stream: SlowStream) -> None:
    stored = command()
    before = asyncio.create_task(queue.find_pending(stored.id))
    await stream.requested.wait()
    assert stream.requests == 1
    stream.commands[stored.address] = stored
    assert await queue.find_pending(stored.id) == stored
    assert await before is None


async def test_silent_stream_is_unavailable(stream: SlowStream) -> None:
    stream.go.clear()
    queue = queue_on(stream, timeout=0.35)
    results = await asyncio.gather(*(queue.find_pending(UUID(int=1)) for _ in range(5)), return_exceptions=True)
    assert [type(result) for result in results] == [Unavailable] * 5
