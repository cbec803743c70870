"""A second HTTP server in a process, beside the one that uvicorn's command line runs."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import uvicorn
from faststream.asgi.types import ASGIApp

_STOP_TIMEOUT = 1
"""Seconds in which open requests may end."""


class EmbeddedServer:
    """Serves `app` at `host` and `port`; with `shared` other processes may listen there too, and each gets a part.

    It writes no access log, and leaves signals to the process.
    """

    def __init__(self, app: ASGIApp, host: str, port: int, *, shared: bool = False) -> None:
        self._host, self.port, self._shared = host, port, shared
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            server_header=False,
            timeout_graceful_shutdown=_STOP_TIMEOUT,
        )
        self._server = _Server(config)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen; return once it does. Raises `OSError` if that is not possible, such as when the port is taken."""
        listener = socket.create_server((self._host, self.port), reuse_port=self._shared)
        self._task = asyncio.create_task(self._server.serve(sockets=[listener]))
        listening = asyncio.create_task(self._server.listening.wait())
        await asyncio.wait([self._task, listening], return_when=asyncio.FIRST_COMPLETED)
        listening.cancel()
        if self._task.done():
            self._task.result()

    async def stop(self) -> None:
        """Stop listening, and close all connections."""
        if self._task is not None:
            self._server.should_exit = True
            await self._task
            self._task = None


class _Server(uvicorn.Server):
    """A server that leaves the signals to the process."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen on the sockets."""
        await super().startup(sockets)
        self.listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the handlers of signals as they are."""
        yield
