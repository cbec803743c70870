"""Shutdown signals: the application acts first, then the server."""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import pytest

from kit.runtime.shutdown import on_termination
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
        with on_termination(lambda: calls.append("application")):
            os.kill(os.getpid(), number)
            await eventually(lambda: len(calls) == 2)
        os.kill(os.getpid(), number)
    assert calls == ["server", "application", "server"]


async def test_action_runs_in_the_event_loop() -> None:
    calls: list[str] = []
    with handled(signal.SIGTERM, []), on_termination(lambda: calls.append("application")):
        os.kill(os.getpid(), signal.SIGTERM)
        assert calls == []
        await eventually(lambda: calls)


async def test_ignored_signal_still_runs_the_action() -> None:
    calls: list[str] = []
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with on_termination(lambda: calls.append("application")):
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


async def test_server_stops_after_a_delay_in_which_the_application_works() -> None:
    calls: list[str] = []

    def append(call: str) -> Callable[[], None]:
        return lambda: calls.append(call)

    with handled(signal.SIGTERM, calls), on_termination(append("begin"), append("end"), delay=0.2):
        os.kill(os.getpid(), signal.SIGTERM)
        await eventually(lambda: calls)
        assert calls == ["begin"]
        await eventually(lambda: len(calls) == 3)
    assert calls == ["begin", "end", "server"]


@pytest.mark.parametrize("numbers", [[signal.SIGINT], [signal.SIGTERM, signal.SIGTERM]])
async def test_person_who_presses_ctrl_c_and_a_second_signal_do_not_wait(numbers: list[signal.Signals]) -> None:
    calls: list[str] = []
    acting = on_termination(lambda: calls.append("begin"), lambda: calls.append("end"), delay=999)
    with handled(numbers[-1], calls), acting:
        for number in numbers:
            os.kill(os.getpid(), number)
        await eventually(lambda: len(calls) == 3)
    assert sorted(calls) == ["begin", "end", "server"]
