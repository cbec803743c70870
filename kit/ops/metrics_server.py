"""`/metrics` at a port of the operator's, apart from the port that clients use."""

from typing import Any

from faststream.asgi import AsgiResponse

from kit.errors import CannotStart
from kit.ops.embedded_server import EmbeddedServer
from kit.ops.metrics import Metrics
from kit.runtime.settings import Settings


class MetricsServer:
    """Reads the levels of `metrics` while a process runs, and serves `/metrics` if `METRICS_PORT` is set.

    All workers of a service share the port. `routes` are for the port of the service, which has `/metrics` only in
    development and without `METRICS_PORT`.
    """

    def __init__(self, metrics: Metrics, settings: Settings) -> None:
        routes = dict(metrics.routes())

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await routes.get(scope["path"], _NOT_FOUND)(scope, receive, send)

        self._metrics = metrics
        at_own_port = settings.app_env == "development" and not settings.metrics_port
        self.routes = metrics.routes() if at_own_port else []
        self._address = f"{settings.metrics_host}:{settings.metrics_port}"
        self._server = (
            EmbeddedServer(app, settings.metrics_host, settings.metrics_port, shared=True)
            if settings.metrics_port
            else None
        )

    async def start(self) -> None:
        """Start both. Raises `CannotStart` if the address is not free."""
        await self._metrics.sampling.start()
        if self._server is None:
            return
        try:
            await self._server.start()
        except OSError as error:
            reason = f"METRICS_HOST and METRICS_PORT name {self._address}, where this process cannot listen: {error}."
            raise CannotStart(reason) from error

    async def stop(self) -> None:
        """Stop both."""
        if self._server is not None:
            await self._server.stop()
        await self._metrics.sampling.stop()


_NOT_FOUND = AsgiResponse(b"", 404)
