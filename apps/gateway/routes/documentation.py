"""The documentation site: `portal` under its own addresses, with the gateway's rate limit and admins."""

from collections.abc import Mapping
from pathlib import Path

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

import apps
import portal
from apps.gateway.deps import Dependencies, address, bearer, current_user
from apps.gateway.http.rate_limits import RateLimits

_DOCUMENTS = Path(apps.__file__).resolve().parent.parent / "asyncapi"


def mount(api: FastAPI, deps: Dependencies) -> None:
    """Serve the portal from `api`, with the OpenAPI document of `api` and the live figures of `deps.monitor`."""
    authorize = _require_admin if deps.live_for_admins else None
    site = _RateLimited(portal.create_app(_DOCUMENTS, api.openapi, deps.monitor, authorize), deps.rate_limits)
    # Not `Mount`: it answers only below its path, and redirects from the path itself.
    for path in portal.PATHS:
        api.router.routes.append(Route(path, site, methods=["GET"], include_in_schema=False))


class _RateLimited:
    """Counts each request against the limit of its address."""

    def __init__(self, app: ASGIApp, rate_limits: RateLimits) -> None:
        self._app = app
        self._rate_limits = rate_limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._rate_limits.hit("address", address(Request(scope)))
        await self._app(scope, receive, send)


async def _require_admin(request: Request) -> Mapping[str, str]:
    """Return the caller's rate-limit headers. Raises what `current_user` raises, and `Forbidden` if not an admin."""
    response = Response()
    caller = await current_user(request, await bearer(request), request.app.state.deps, response)
    caller.require_admin()
    return {name: value for name, value in response.headers.items() if name.startswith("ratelimit")}
