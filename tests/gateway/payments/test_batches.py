"""Payments without a key: what arrives together is one message with one acknowledgement."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from nats.errors import ConnectionClosedError, NoRespondersError
from nats.errors import TimeoutError as NatsTimeout

from apps.gateway.payments.accept import new_command
from apps.gateway.payments.batches import PaymentBatches
from apps.gateway.payments.publishing import CommandPublisher
from contracts.payments import CreatePayment, CreatePayments
from kit.errors import OutcomeUnknown, Unavailable
from kit.runtime.tracing import Trace, trace
from tests.support.acceptance_harness import ADA, BOB, charge
from tests.support.scripted_streams import Published, ScriptedStreams

TIMEOUT = 60.0
FULL = 10077


def batches_on(broker: ScriptedStreams, *, gather_delay: float = 0.0, **options: Any) -> PaymentBatches:
    return PaymentBatches(CommandPublisher(broker), TIMEOUT, gather_delay=gather_delay, **options)


async def pay(batches: PaymentBatches, amount: int = 1, caller: UUID = ADA) -> CreatePayment:
    return await batches.publish(partial(new_command, charge(amount), caller), caller, lambda _: None)


async def pay_together(batches: PaymentBatches, count: int) -> list[CreatePayment | BaseException]:
    return await asyncio.gather(*(pay(batches, number + 1) for number in range(count)), return_exceptions=True)


def batch_in(message: Published) -> CreatePayments:
    batch = CreatePayments.model_validate_json(message.body)
    assert message.subject == batch.address
    assert batch.model_dump_json().encode() == message.body
    assert {CreatePayments.address_with(item.command.id) for item in batch.items} == {message.subject}
    return batch


def sizes(broker: ScriptedStreams) -> list[int]:
    return [len(batch_in(message).items) for message in broker.stored]


@contextmanager
def traced(request: Trace) -> Iterator[None]:
    token = trace.set(request)
    yield
    trace.reset(token)


async def test_payments_of_one_turn_are_one_message() -> None:
    broker = ScriptedStreams()
    commands = await pay_together(batches_on(broker), 100)
    [message] = broker.stored
    assert [item.command for item in batch_in(message).items] == commands
    assert message.headers == {"content-type": "application/json", "Nats-Expected-Last-Subject-Sequence": "0"}


async def test_each_payment_has_the_trace_of_its_request() -> None:
    broker = ScriptedStreams()
    batches = batches_on(broker)
    with traced(Trace("r1", "t1")):
        one = asyncio.create_task(pay(batches))
    with traced(Trace("r2", "")):
        other = asyncio.create_task(pay(batches, caller=BOB))
    await asyncio.gather(one, other)
    items = batch_in(broker.stored[0]).items
    assert [(item.request_id, item.traceparent) for item in items] == [("r1", "t1"), ("r2", "")]


async def test_payments_that_arrive_during_a_publish_are_the_next_message() -> None:
    broker = ScriptedStreams()
    broker.go.clear()
    batches = batches_on(broker, in_flight=1)
    tasks: list[asyncio.Task[CreatePayment]] = []
    for _ in range(10):
        tasks.append(asyncio.create_task(pay(batches)))
        await asyncio.sleep(0.001)
    broker.go.set()
    await asyncio.gather(*tasks)
    assert sizes(broker) == [1, 9]


async def test_batch_after_a_shared_one_takes_more_payments() -> None:
    """Such as the next requests of the clients that were just answered."""
    broker = ScriptedStreams()
    batches = batches_on(broker, gather_delay=0.2)
    await pay_together(batches, 2)
    tasks: list[asyncio.Task[CreatePayment]] = []
    for _ in range(3):
        tasks.append(asyncio.create_task(pay(batches)))
        for _ in range(5):
            await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    assert sizes(broker) == [2, 3]


async def test_lone_payments_are_published_without_a_delay() -> None:
    broker = ScriptedStreams()
    batches = batches_on(broker, gather_delay=TIMEOUT)
    for _ in range(3):
        await pay(batches)
    assert sizes(broker) == [1] * 3


@pytest.mark.parametrize(("options", "expected"), [({"max_payments": 4}, [4, 4, 2]), ({"max_bytes": 1}, [1] * 10)])
async def test_batch_is_split_by_number_and_size(options: dict[str, int], expected: list[int]) -> None:
    broker = ScriptedStreams()
    await pay_together(batches_on(broker, **options), 10)
    assert sizes(broker) == expected


async def test_id_is_assigned_before_anything_is_published() -> None:
    broker, assigned = ScriptedStreams(), list[UUID]()
    new = partial(new_command, charge(), ADA)
    publishing = batches_on(broker).publish(new, ADA, assigned.append)
    publishing.send(None)
    assert len(assigned) == 1
    assert not broker.requested
    publishing.close()


async def test_refused_batch_is_published_payment_by_payment() -> None:
    """Each gets a new id: under one subject only the last message would be found."""

    def answer(messages: list[Published]) -> int | None:
        items = CreatePayments.model_validate_json(messages[0].body).items
        return FULL if len(items) > 1 or items[0].command.amount == 3 else None

    broker, assigned = ScriptedStreams(answer), list[list[UUID]]()
    batches = batches_on(broker)

    async def publish(amount: int) -> CreatePayment:
        ids: list[UUID] = []
        assigned.append(ids)
        return await batches.publish(partial(new_command, charge(amount), ADA), ADA, ids.append)

    results = await asyncio.gather(*(publish(amount) for amount in range(1, 6)), return_exceptions=True)
    assert sizes(broker) == [1] * 4
    assert [type(each) for each in results] == [CreatePayment, CreatePayment, Unavailable, CreatePayment, CreatePayment]
    stored = {batch_in(message).items[0].command.id for message in broker.stored}
    assert stored == {each.id for each in results if isinstance(each, CreatePayment)}
    every = [payment for ids in assigned for payment in ids]
    assert len(set(every)) == len(every) == 10
    assert all(
        each.id == ids[1] for ids, each in zip(assigned, results, strict=True) if isinstance(each, CreatePayment)
    )


@pytest.mark.parametrize(
    ("failure", "raised", "what"),
    [
        (FULL, Unavailable, "payment queue"),
        (10023, Unavailable, "message broker"),
        (NoRespondersError(), Unavailable, "message broker"),
        (ConnectionClosedError(), Unavailable, "message broker"),
        (NatsTimeout(), OutcomeUnknown, "message broker"),
    ],
)
async def test_every_payment_gets_the_failure_of_its_batch(
    failure: int | Exception, raised: type[Exception], what: str
) -> None:
    broker = ScriptedStreams(lambda _: failure)
    results = await pay_together(batches_on(broker), 3)
    assert [type(each) for each in results] == [raised] * 3
    assert what in str(results[0])
    assert not broker.stored


async def test_nothing_is_published_without_a_connection() -> None:
    broker = ScriptedStreams()
    broker.connected = False
    with pytest.raises(Unavailable, match="message broker"):
        await pay(batches_on(broker))
    assert not broker.requested


async def test_payment_whose_client_is_gone_is_left_out() -> None:
    broker = ScriptedStreams()
    broker.go.clear()
    batches = batches_on(broker, in_flight=1)
    first = asyncio.create_task(pay(batches))
    await asyncio.sleep(0)
    gone, stays = asyncio.create_task(pay(batches, 2)), asyncio.create_task(pay(batches, 3))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.sleep(0)
    broker.go.set()
    await asyncio.gather(first, stays)
    assert [item.command.amount for message in broker.stored for item in batch_in(message).items] == [1, 3]


async def test_payment_that_waited_too_long_is_refused() -> None:
    broker = ScriptedStreams()
    broker.go.clear()
    batches = PaymentBatches(CommandPublisher(broker), 0.5, in_flight=1)
    first = asyncio.create_task(pay(batches))
    await asyncio.sleep(0.05)
    late = asyncio.create_task(pay(batches))
    await asyncio.sleep(0.6)
    broker.go.set()
    await first
    with pytest.raises(Unavailable):
        await late
    assert sizes(broker) == [1]
