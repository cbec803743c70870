"""A FastStream application with what every process of ours needs of its start and its end."""

import multiprocessing
import os
import signal
import sys
import threading
from typing import Any

from faststream.asgi import AsgiFastStream

from kit.errors import CannotStart


class ServiceApp(AsgiFastStream):
    """An application that says why it cannot start, and that does not outlive its supervisor.

    Whatever raises `CannotStart` in its lifespan ends the process with that sentence, not with a stack trace, and with
    uvicorn's exit code for that, 3. A worker of `faststream run --workers` ends when its supervisor is killed.
    """

    async def lifespan(self, scope: Any, receive: Any, send: Any) -> None:
        """Speak the server's lifespan protocol (ASGI)."""
        end_with_supervisor()

        async def say(message: Any) -> None:
            error = sys.exc_info()[1]
            if message["type"] == "lifespan.startup.failed" and isinstance(error, CannotStart):
                message = {**message, "message": str(error)}  # FastStream's own is the stack trace
            await send(message)

        await super().lifespan(scope, receive, say)


def end_with_supervisor() -> None:
    """Ask this process to end when the one that started it as a worker dies; does nothing in any other process.

    uvicorn's workers would live on without it, and hold its port.
    """
    supervisor = multiprocessing.parent_process()
    if supervisor is None:
        return

    def watch() -> None:
        supervisor.join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="supervisor watch", daemon=True).start()
