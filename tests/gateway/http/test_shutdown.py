"""Shutdown signals: the gateway acts first, then the server."""

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
def handled(number: signal.Signals, calls: list[str]) -> Iterator[None]:
    """Install a signal handler like the server's until the end of the block."""

    def handle(_: int, __: FrameType | None) -> None:
        calls.append("server")

    before = signal.signal(number, handle)
    try:
        yield
        assert signal.getsignal(number) is handle
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signal_runs_the_action_and_the_server_handler(number: signal.Signals) -> None:
    calls: list[str] = []
    with handled(number, calls):
        with on_termination(lambda: calls.append("gateway")):
            os.kill(os.getpid(), number)
            await eventually(lambda: len(calls) == 2)
        os.kill(os.getpid(), number)
    assert calls == ["server", "gateway", "server"]


async def test_action_runs_in_the_event_loop() -> None:
    calls: list[str] = []
    with handled(signal.SIGTERM, []), on_termination(lambda: calls.append("gateway")):
        os.kill(os.getpid(), signal.SIGTERM)
        assert calls == []
        await eventually(lambda: calls)


async def test_ignored_signal_still_runs_the_action() -> None:
    calls: list[str] = []
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with on_termination(lambda: calls.append("gateway")):
            os.kill(os.getpid(), signal.SIGTERM)
            await eventually(lambda: calls)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


async def test_signals_are_untouched_outside_the_main_thread() -> None:
    before = signal.getsignal(signal.SIGTERM)

    async def run() -> None:
        with on_termination(lambda: None):
            assert signal.getsignal(signal.SIGTERM) is before

    await asyncio.to_thread(asyncio.run, run())
