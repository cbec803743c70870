"""Cross-origin requests (the Fetch standard), off unless the settings name origins."""

from functools import partial

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from apps.gateway.http.middleware import Wrap

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_REQUEST_HEADERS = (
    *("Authorization", "Content-Type", "Idempotency-Key", "If-Match", "If-None-Match", "Last-Event-ID", "Prefer"),
    *("X-Request-Id", "traceparent"),
)
_RESPONSE_HEADERS = (
    *("ETag", "Idempotent-Replayed", "Location", "Preference-Applied", "RateLimit", "RateLimit-Policy"),
    *("Retry-After", "X-Request-Id"),
)


def cors(origins: str) -> Wrap | None:
    """Return the layer that lets pages of these origins, separated by commas, call the API; None without any.

    Credentials of the browser, such as cookies, are not part of it: callers send their token.
    """
    allowed = [origin.strip() for origin in origins.split(",") if origin.strip()]
    return partial(_allowing, allowed) if allowed else None


def _allowing(origins: list[str], app: ASGIApp) -> ASGIApp:
    return CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=_METHODS,
        allow_headers=_REQUEST_HEADERS,
        expose_headers=_RESPONSE_HEADERS,
    )
