"""Looking for a command in its stream: as fresh as one look of one's own, and not one for each of a crowd."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import pytest

from apps.gateway.payments.queue import JetStreamPaymentQueue
from contracts.payments import CreatePayment
from kit.errors import Unavailable
from kit.messaging.broker import Broker
from tests.gateway.payments.test_accept import Setting

AT_ONCE = 200


class SlowStream:
    """Answers a direct get with what was there when it was asked, a little later."""

    def __init__(self) -> None:
        self.commands: dict[str, CreatePayment] = {}
        self.asked = 0
        self.go = asyncio.Event()
        self.go.set()

    async def get_last_msg(self, stream: str, subject: str, direct: bool) -> Any:
        assert (stream, direct) == ("PAYMENT_COMMANDS", True)
        self.asked += 1
        command = self.commands.get(subject)
        await asyncio.sleep(0.01)
        await self.go.wait()
        return SimpleNamespace(data=command.model_dump_json().encode() if command else b"")


@pytest.fixture
def stream() -> SlowStream:
    return SlowStream()


@pytest.fixture
def commands(stream: SlowStream) -> JetStreamPaymentQueue:
    return JetStreamPaymentQueue(cast(Broker, SimpleNamespace(jetstream=stream)), timeout=1)


async def test_a_crowd_that_looks_for_one_command_asks_once(
    commands: JetStreamPaymentQueue, stream: SlowStream
) -> None:
    command = Setting().command()
    stream.commands[command.address] = command
    found = await asyncio.gather(*(commands.waiting(command.id) for _ in range(AT_ONCE)))
    assert found == [command] * AT_ONCE
    assert stream.asked == 1


async def test_each_finds_its_own(commands: JetStreamPaymentQueue, stream: SlowStream) -> None:
    each = [Setting().command(key=f"key {number}") for number in range(20)]
    stream.commands = {command.address: command for command in each[:10]}
    found = await asyncio.gather(*(commands.waiting(command.id) for command in each))
    assert found == [*each[:10], *[None] * 10]


async def test_who_comes_after_a_look_has_begun_gets_a_later_one(
    commands: JetStreamPaymentQueue, stream: SlowStream
) -> None:
    command = Setting().command()
    before = asyncio.create_task(commands.waiting(command.id))
    await asyncio.sleep(0.005)
    assert stream.asked == 1
    stream.commands[command.address] = command
    assert await commands.waiting(command.id) == command
    assert await before is None


async def test_a_stream_that_does_not_answer_is_unavailable(
    commands: JetStreamPaymentQueue, stream: SlowStream
) -> None:
    stream.go.clear()
    outcomes = await asyncio.gather(*(commands.waiting(UUID(int=1)) for _ in range(5)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [Unavailable] * 5
