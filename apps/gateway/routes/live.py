"""What goes on now, for the map of the documentation: where whoever runs the gateway wants it to be seen."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from apps.gateway.deps import Deps, Token, current_user
from apps.gateway.errors import NotFound
from portal.live import Snapshot, SystemMonitor

router = APIRouter(include_in_schema=False)


async def _watch(deps: Deps, token: Token, response: Response) -> SystemMonitor:
    if deps.watch is None:
        raise NotFound("live overlay")
    if not deps.watch_is_open:
        (await current_user(token, deps, response)).require_admin()
    return deps.watch


@router.get("/asyncapi/live.json")
async def live(watch: Annotated[SystemMonitor, Depends(_watch)], response: Response) -> Snapshot:
    """Tell of every stream, its consumers and last messages, and of every process; in production to admins alone."""
    response.headers["Cache-Control"] = "no-store"
    return await watch.look()
