"""The gateway's middleware around an application of a test."""

from starlette.types import ASGIApp

from apps.gateway.http.access_log import AccessLog
from apps.gateway.http.backpressure import Capacity
from apps.gateway.http.body_limits import BodyLimit
from apps.gateway.http.middleware import Middleware


def middleware(app: ASGIApp, capacity: Capacity | None = None, access_log: AccessLog | None = None) -> Middleware:
    """Return the middleware, with limits that no test reaches unless it passes its own."""
    return Middleware(app, capacity or Capacity(requests=100, streams=100, timeout=60), BodyLimit(1 << 20), access_log)
