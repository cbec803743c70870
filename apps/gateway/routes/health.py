"""Whether the gateway lives and whether it can work."""

from http import HTTPStatus

from fastapi import APIRouter, Response

from apps.gateway.deps import Gateway
from apps.gateway.http.openapi import answered, documented
from kit.ops.health import Report

router = APIRouter(prefix="/health", tags=["health"])

_NOT_READY = documented(
    also={
        200: answered("It can work."),
        503: {"model": Report, "description": "Something that the gateway needs is away."},
    }
)


@router.get("", name="health", responses=_NOT_READY)
@router.get("/ready", responses=_NOT_READY)
async def ready(gateway: Gateway, response: Response) -> Report:
    """Say whether everything that the gateway needs is there, one entry per dependency."""
    report = await gateway.health.report()
    if report["status"] != "ok":
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
    return report


@router.get("/live", responses=documented(also={200: answered("It answers.")}))
async def live() -> Report:
    """Say that the process answers."""
    return {"status": "ok", "checks": {}}
