"""An ASGI application behind uvicorn on a real socket, configured as the gateway configures it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from apps.gateway.http.protocol import ConnectionLimits, Connections
from apps.gateway.http.server import configure_server
from mkstore.stack import ports
from tests.support.polling import eventually


@asynccontextmanager
async def served(
    app: ASGIApp,
    limits: ConnectionLimits | None = None,
    hsts_max_age: int = 0,
    connections: Connections | None = None,
) -> AsyncIterator[str]:
    """Serve `app` until the end of the block; yield its URL."""
    limits = limits or ConnectionLimits()
    connections = connections or Connections(limits.sweep_interval)

    async def with_lifespan(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await app(scope, receive, send)
            return
        await receive()
        configure_server(receive, connections, hsts_max_age, limits)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})

    port = ports.free_port()
    config = uvicorn.Config(with_lifespan, ports.LOOPBACK, port, log_config=None, timeout_graceful_shutdown=5)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server._serve())  # noqa: SLF001 - `serve` takes over the signals of the test run
    try:
        await eventually(lambda: server.started or task.done())
        yield f"http://{ports.LOOPBACK}:{port}"
    finally:
        server.should_exit = True
        await task
