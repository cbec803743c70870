"""What must happen when the process is told to end, before the server begins to wait for open connections."""

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def on_termination(act: Callable[[], None]) -> Iterator[None]:
    """Call `act` in the running event loop after SIGTERM and SIGINT, besides what was to happen anyway.

    uvicorn waits for open connections before the application hears of the end: an event stream would keep it for ever.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's business
        return
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def handle(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(act)  # a signal may come in the middle of anything
        handler = before[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)

    for number in before:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
