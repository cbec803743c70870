"""What happens when the process is told to end: those who listen are let go, and then what happens anyway."""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import pytest

from apps.gateway.http.shutdown import on_termination
from tests.support.polling import eventually


@contextmanager
def handled(number: signal.Signals, told: list[str]) -> Iterator[None]:
    """Handle a signal as a server does, until the end of the block."""

    def handle(_: int, __: FrameType | None) -> None:
        told.append("server")

    before = signal.signal(number, handle)
    try:
        yield
        assert signal.getsignal(number) is handle
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_acts_and_the_server_hears_of_it_too(number: signal.Signals) -> None:
    told: list[str] = []
    with handled(number, told):
        with on_termination(lambda: told.append("gateway")):
            os.kill(os.getpid(), number)
            await eventually(lambda: len(told) == 2)
        os.kill(os.getpid(), number)
    assert told == ["server", "gateway", "server"]


async def test_it_acts_between_two_turns_of_the_loop_and_not_in_the_middle_of_one() -> None:
    told: list[str] = []
    with handled(signal.SIGTERM, []), on_termination(lambda: told.append("gateway")):
        os.kill(os.getpid(), signal.SIGTERM)
        assert told == []
        await eventually(lambda: told)


async def test_a_signal_that_nobody_handles_does_no_harm() -> None:
    told: list[str] = []
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with on_termination(lambda: told.append("gateway")):
            os.kill(os.getpid(), signal.SIGTERM)
            await eventually(lambda: told)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


async def test_in_a_thread_signals_are_nobodys_business() -> None:
    before = signal.getsignal(signal.SIGTERM)

    async def run() -> None:
        with on_termination(lambda: None):
            assert signal.getsignal(signal.SIGTERM) is before

    await asyncio.to_thread(asyncio.run, run())
