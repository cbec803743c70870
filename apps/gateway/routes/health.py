"""Liveness and readiness of the gateway."""

from http import HTTPStatus

from fastapi import APIRouter, Response

from apps.gateway.deps import Deps
from apps.gateway.http.openapi import responses, success
from kit.ops.health import Report

router = APIRouter(prefix="/health", tags=["health"])

_NOT_READY = responses(
    also={
        200: success("The gateway is ready."),
        503: {"model": Report, "description": "A dependency of the gateway is unavailable."},
    }
)


@router.get("", name="health", responses=_NOT_READY)
@router.get("/ready", responses=_NOT_READY)
async def ready(deps: Deps, response: Response) -> Report:
    """Report whether the gateway is ready, with one entry per dependency."""
    report = await deps.health.report()
    if report["status"] != "ok":
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
    return report


@router.get("/live", responses=responses(also={200: success("The process is alive.")}))
async def live() -> Report:
    """Report that the process is alive."""
    return {"status": "ok", "checks": {}}
