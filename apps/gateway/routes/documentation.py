"""The documentation site: `portal` under its own addresses, with the gateway's admins."""

from collections.abc import Mapping
from pathlib import Path

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

import apps
import portal
from apps.gateway.deps import Dependencies, bearer, current_user
from apps.gateway.http import problem_advice, problems

_ROOT = Path(apps.__file__).resolve().parent.parent
_OPENAPI_YAML = _ROOT / "openapi/gateway.yaml"
"""Written by `mkstore docs`: the images have no PyYAML."""


def mount(api: FastAPI, deps: Dependencies) -> None:
    """Serve the portal from `api`, with the OpenAPI document of `api`, and what `deps` show of the running system."""
    authorize = _require_admin if deps.live_for_admins else None
    site = portal.create_app(
        _ROOT / "asyncapi",
        api.openapi,
        deps.monitor,
        authorize,
        traces=deps.traces,
        openapi_yaml=_OPENAPI_YAML,
        problems=problems.own_types(),
        statuses=problems.STATUS,
        advice=problem_advice.ADVICE,
    )
    api.router.routes.append(Route("/", _root, methods=["GET"], include_in_schema=False))
    # Not `Mount`: it answers only below its path, and redirects from the path itself.
    for path in portal.PATHS:
        api.router.routes.append(Route(path, site, methods=["GET"], include_in_schema=False))


async def _root(_: Request) -> Response:
    """Lead a browser at the address of the gateway to the documentation."""
    return RedirectResponse("/docs")


async def _require_admin(request: Request) -> Mapping[str, str]:
    """Return the caller's rate-limit headers. Raises what `current_user` raises, and `Forbidden` if not an admin."""
    response = Response()
    caller = await current_user(request, await bearer(request), request.app.state.deps, response)
    caller.require_admin()
    return {name: value for name, value in response.headers.items() if name.startswith("ratelimit")}
