"""The queues of several shards: where a payment is published, and what one shard that hangs means for the others."""

import asyncio
from functools import partial
from uuid import UUID, uuid4

import pytest

from apps.gateway.payments.accept import new_command
from apps.gateway.payments.ids import payment_id
from apps.gateway.payments.queue import PaymentQueue, payment_queue
from contracts.payments import CreatePayment
from contracts.shards import Shard, Shards
from tests.support.acceptance_harness import charge
from tests.support.scripted_streams import ScriptedStreams

TWO = Shards(2)
TURNS = 5
"""Turns of the event loop in which a publish begins."""


def user_of(shard: Shard) -> UUID:
    """Return a user whose payments belong to a shard."""
    return next(user for user in iter(uuid4, None) if TWO.of_user(user) == shard)


def started(queue: PaymentQueue, caller: UUID) -> asyncio.Task[CreatePayment]:
    """Start to publish a payment without a key."""
    new = partial(new_command, charge(1), caller)
    return asyncio.ensure_future(queue.publish(new, caller, lambda _: None))


async def turns() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)


@pytest.mark.parametrize("shard", TWO.all)
async def test_payments_of_a_caller_go_to_one_shard_with_and_without_a_key(shard: Shard) -> None:
    broker = ScriptedStreams()
    queue, caller = payment_queue(broker, 60.0, TWO, replicas=1), user_of(shard)
    command = await started(queue, caller)
    keyed = new_command(charge(1), user_of(TWO.all[1 - shard.number]), payment_id(caller, "one"))
    assert await queue.publish_keyed(keyed)
    assert [message.subject for message in broker.stored] == [
        f"payments.{shard.name}.create.batch.{command.id.hex[:24]}",
        f"payments.{shard.name}.create.key.{keyed.id}",
    ]


@pytest.mark.parametrize(("shards", "published"), [(Shards(), 2), (TWO, 1)])
async def test_each_of_several_shards_has_one_batch_in_flight(shards: Shards, published: int) -> None:
    """With two for each, the clients divide into twice as many batches, which carry half as many payments."""
    broker = ScriptedStreams()
    broker.go.clear()
    queue, caller = payment_queue(broker, 60.0, shards, replicas=1), user_of(TWO.all[0])
    tasks = []
    for _ in range(4):
        tasks.append(started(queue, caller))
        await turns()
    assert broker.requested == published
    broker.go.set()
    await asyncio.gather(*tasks)


async def test_shard_without_an_answer_does_not_hold_back_another() -> None:
    broker = ScriptedStreams()
    broker.go.clear()
    queue = payment_queue(broker, 60.0, TWO, replicas=1)
    tasks = []
    for shard in TWO.all:
        tasks.append(started(queue, user_of(shard)))
        await turns()
    assert broker.requested == 2
    broker.go.set()
    await asyncio.gather(*tasks)
