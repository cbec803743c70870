"""Payments with a key: one message each, in one atomic batch if they arrive together."""

import asyncio

import pytest
from nats.errors import ConnectionClosedError, NoRespondersError
from nats.errors import TimeoutError as NatsTimeout

from apps.gateway.payments.keyed import KeyedPayments
from apps.gateway.payments.publishing import CommandPublisher
from contracts.payments import CreatePayment
from kit.errors import OutcomeUnknown, Unavailable
from kit.runtime.tracing import Trace, trace
from tests.support.acceptance_harness import command
from tests.support.scripted_streams import Published, ScriptedStreams

TIMEOUT = 60.0
KNOWN = 10071


def keyed_on(broker: ScriptedStreams) -> KeyedPayments:
    return KeyedPayments(CommandPublisher(broker), TIMEOUT)


def refusing(*known: CreatePayment, code: int = KNOWN) -> ScriptedStreams:
    """Return streams that have these commands."""
    subjects = {each.address for each in known}
    return ScriptedStreams(lambda messages: code if subjects & {each.subject for each in messages} else None)


async def publish(keyed: KeyedPayments, *commands: CreatePayment) -> list[bool | BaseException]:
    return await asyncio.gather(*map(keyed.publish, commands), return_exceptions=True)


def commands(count: int) -> list[CreatePayment]:
    return [command(key=f"key {number}") for number in range(count)]


async def test_single_payment_is_one_guarded_message() -> None:
    broker, new = ScriptedStreams(), command()
    token = trace.set(Trace("a request", "a parent"))
    assert await publish(keyed_on(broker), new) == [True]
    trace.reset(token)
    assert broker.stored == [
        Published(
            f"payments.create.key.{new.id}",
            new.model_dump_json().encode(),
            {
                "content-type": "application/json",
                "Nats-Expected-Last-Subject-Sequence": "0",
                "X-Request-Id": "a request",
                "traceparent": "a parent",
            },
        )
    ]


async def test_payments_that_arrive_together_are_one_atomic_batch() -> None:
    broker, new = ScriptedStreams(), commands(50)
    assert await publish(keyed_on(broker), *new) == [True] * 50
    assert broker.requested == 1
    assert [CreatePayment.model_validate_json(message.body) for message in broker.stored] == new
    headers = [message.headers for message in broker.stored]
    assert [each["Nats-Batch-Sequence"] for each in headers] == [str(number) for number in range(1, 51)]
    assert {each["Nats-Expected-Last-Subject-Sequence"] for each in headers} == {"0"}
    assert ["Nats-Batch-Commit" in each for each in headers] == [False] * 49 + [True]


@pytest.mark.parametrize("code", [KNOWN, 10164, 10199, 10201])
async def test_refused_batch_is_published_singly(code: int) -> None:
    new = commands(5)

    def answer(messages: list[Published]) -> int | None:
        if len(messages) > 1:
            return code
        return KNOWN if messages[0].subject == new[2].address else None

    broker = ScriptedStreams(answer)
    assert await publish(keyed_on(broker), *new) == [True, True, False, True, True]
    assert {message.subject for message in broker.stored} == {each.address for each in new if each is not new[2]}


async def test_repetitions_that_arrive_together_are_published_once() -> None:
    broker, new = ScriptedStreams(), commands(2)
    others = [command(7, key="key 0"), command(key="key 0")]
    assert await publish(keyed_on(broker), *new, *others) == [True, True, False, False]
    assert [message.body for message in broker.stored] == [each.model_dump_json().encode() for each in new]


async def test_known_payment_is_reported() -> None:
    new = command()
    assert await publish(keyed_on(refusing(new)), new) == [False]


@pytest.mark.parametrize(
    ("failure", "raised", "what"),
    [
        (10077, Unavailable, "payment queue"),
        (10023, Unavailable, "message broker"),
        (NoRespondersError(), Unavailable, "message broker"),
        (ConnectionClosedError(), Unavailable, "message broker"),
        (NatsTimeout(), OutcomeUnknown, "message broker"),
    ],
)
@pytest.mark.parametrize("count", [1, 3])
async def test_failed_publish_is_refused(
    failure: int | Exception, raised: type[Exception], what: str, count: int
) -> None:
    broker, new = ScriptedStreams(lambda _: failure), commands(count)
    results = await publish(keyed_on(broker), *new, new[0])
    assert [type(each) for each in results] == [raised] * (count + 1)
    assert what in str(results[0])
    assert not broker.stored


async def test_nothing_is_published_without_a_connection() -> None:
    broker = ScriptedStreams()
    broker.connected = False
    results = await publish(keyed_on(broker), *commands(3))
    assert [type(each) for each in results] == [Unavailable] * 3
    assert not broker.requested
