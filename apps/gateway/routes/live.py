"""What goes on now, for the map of the documentation: where whoever runs the gateway wants it to be seen."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from apps.gateway.deps import Gateway, Token, signed_in
from apps.gateway.errors import NotFound
from portal.live import Snapshot, SystemMonitor

router = APIRouter(include_in_schema=False)


async def _watch(gateway: Gateway, token: Token, response: Response) -> SystemMonitor:
    if gateway.watch is None:
        raise NotFound("live overlay")
    if not gateway.watch_is_open:
        (await signed_in(token, gateway, response)).require_admin()
    return gateway.watch


@router.get("/asyncapi/live.json")
async def live(watch: Annotated[SystemMonitor, Depends(_watch)], response: Response) -> Snapshot:
    """Tell of every stream, its consumers and last messages, and of every process; in production to admins alone."""
    response.headers["Cache-Control"] = "no-store"
    return await watch.look()
