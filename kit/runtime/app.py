"""The FastStream application of every service: how its process starts and ends."""

import asyncio
import gc
import multiprocessing
import os
import signal
import sys
import threading
from contextlib import suppress
from typing import Any

from faststream.asgi import AsgiFastStream

from kit.errors import CannotStart
from kit.runtime import workers as _workers  # noqa: F401 - changes how uvicorn supervises workers

_START_PATIENCE = 2.0
"""Seconds for which a process that has no broker yet serves no HTTP."""
_FROZEN_BY_PYTHON = gc.get_freeze_count()
"""Objects that were excluded before this module was imported: 375 on Python 3.12, none on others."""
_COLLECTION_THRESHOLD = 10_000
"""New objects after which the youngest generation is collected; 700 by default, a few requests."""


class ServiceApp(AsgiFastStream):
    """An application that reports why it cannot start, and that does not outlive its supervisor.

    `CannotStart` in the lifespan ends the process with the error's message instead of a stack trace, and with uvicorn's
    exit code for a failed start, 3. If HTTP is served already, it ends the process by SIGTERM, which would otherwise
    live on and do nothing. A process serves HTTP when its broker has started: a worker shares its port with others, and
    would get requests that it cannot handle. If that takes long, it serves HTTP and is not ready. A worker of
    `faststream run --workers` ends when its supervisor is killed.
    """

    async def lifespan(self, scope: Any, receive: Any, send: Any) -> None:
        """Handle the ASGI lifespan protocol."""
        end_with_supervisor()
        is_asked_to_stop = False
        has_started = asyncio.Event()

        @self.after_startup
        async def note_start() -> None:
            has_started.set()

        async def receive_and_note() -> Any:
            nonlocal is_asked_to_stop
            message = await receive()
            is_asked_to_stop = message["type"] == "lifespan.shutdown"
            return message

        async def send_reason(message: Any) -> None:
            error = sys.exc_info()[1]
            if message["type"].endswith(".failed") and isinstance(error, CannotStart):
                message = {**message, "message": str(error)}  # FastStream sends the stack trace
                if message["type"] == "lifespan.shutdown.failed" and not is_asked_to_stop:
                    os.kill(os.getpid(), signal.SIGTERM)  # the broker starts after HTTP is served
            if message["type"] == "lifespan.startup.complete":
                with suppress(TimeoutError):
                    await asyncio.wait_for(has_started.wait(), _START_PATIENCE)
                settle_garbage_collection()
            await send(message)

        await super().lifespan(scope, receive_and_note, send_reason)


def settle_garbage_collection() -> None:
    """Exclude from garbage collection, once per process, the objects that exist after the start.

    Modules, routes and models are several hundred thousand objects that never become garbage. Each full collection
    searched them: pauses of 50 to 80 ms under load, and a sixth of the gateway's processor time.
    """
    if gc.get_freeze_count() <= _FROZEN_BY_PYTHON:
        gc.collect()
        gc.freeze()
        gc.set_threshold(_COLLECTION_THRESHOLD, *gc.get_threshold()[1:])


def end_with_supervisor() -> None:
    """Terminate this process when the supervisor that started it as a worker dies; otherwise do nothing.

    uvicorn's workers would live on without their supervisor and keep its port.
    """
    supervisor = multiprocessing.parent_process()
    if supervisor is None:
        return

    def watch() -> None:
        supervisor.join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="supervisor watch", daemon=True).start()
