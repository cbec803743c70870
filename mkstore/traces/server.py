"""The receiver of traces as a server in this process, on the loopback."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import uvicorn

from mkstore.traces.receiver import create_app
from mkstore.traces.store import SpanStore

_LOOPBACK = "127.0.0.1"
_STOP_TIMEOUT = 1
"""Seconds in which open requests may end."""


class TraceServer:
    """Receives traces at `port` of the loopback and keeps the last ones in `store`; `token` begins every path."""

    def __init__(self, port: int, token: str, store: SpanStore | None = None) -> None:
        self.port = port
        self.store = store or SpanStore()
        hosts = frozenset({f"{_LOOPBACK}:{port}", f"localhost:{port}"})
        # No access log: a line per export, with the token in its path.
        config = uvicorn.Config(
            create_app(self.store, token, hosts),
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
        """Listen; return once it does. Raises `OSError` if another process has the port."""
        listener = socket.create_server((_LOOPBACK, self.port))
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
    """A server that leaves the signals to `mkstore up`."""

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
