"""The gateway's middleware around an application of a test."""

from starlette.types import ASGIApp

from apps.gateway.http.access_log import AccessLog
from apps.gateway.http.backpressure import Capacity
from apps.gateway.http.middleware import Middleware
from apps.gateway.http.rate_limits import RateLimits


def middleware(
    app: ASGIApp,
    capacity: Capacity | None = None,
    access_log: AccessLog | None = None,
    rate_limits: RateLimits | None = None,
) -> Middleware:
    """Return the middleware, with limits that no test reaches unless it passes its own."""
    capacity = capacity or Capacity(requests=100, streams=100, timeout=60)
    return Middleware(app, capacity, rate_limits or RateLimits({}, enabled=False), access_log)
