"""What a process does between the signal that ends it and the end of its server."""

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


def _nothing() -> None:
    pass


@contextmanager
def on_termination(
    begin: Callable[[], None], end: Callable[[], None] = _nothing, *, delay: float = 0.0
) -> Iterator[None]:
    """Call `begin` and, after `delay` seconds, `end` in the running event loop on SIGTERM; then the previous handler.

    In between the process works as before, and a load balancer can notice that it is not ready. SIGINT and a second
    signal do not wait. uvicorn's handler then waits for open connections before it stops the application: an open event
    stream would block it without an end.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may handle signals
        return
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    is_stopping = False

    def pass_on(number: int, frame: FrameType | None = None) -> None:
        handler = before[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)

    def handle(number: int, frame: FrameType | None) -> None:  # a signal may interrupt any code
        nonlocal is_stopping
        is_waiting = bool(delay) and number == signal.SIGTERM and not is_stopping
        if not is_stopping:
            loop.call_soon_threadsafe(begin)
        is_stopping = True
        if is_waiting:
            loop.call_soon_threadsafe(loop.call_later, delay, finish, number)
        else:
            loop.call_soon_threadsafe(end)
            pass_on(number, frame)

    def finish(number: int) -> None:
        end()
        pass_on(number)

    for number in before:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
