"""The caller's events as they happen: Server-Sent Events."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Header
from fastapi.responses import StreamingResponse
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from structlog.stdlib import get_logger

from apps.gateway.auth import Caller
from apps.gateway.deps import CurrentUser, Dependencies, Deps
from apps.gateway.http.openapi import responses, success
from apps.gateway.sse.history import Position
from kit.errors import InvalidField, Unavailable

log = get_logger(__name__)

router = APIRouter(tags=["events"])

_RETRY_MILLISECONDS = 1000


@router.get(
    "/events",
    response_class=StreamingResponse,
    responses=responses(401, 429, also={200: {**success("The events."), "content": {"text/event-stream": {}}}}),
)
async def stream_events(
    caller: CurrentUser,
    deps: Deps,
    last_event_id: Annotated[str | None, Header(max_length=250, description="Begin after this event.")] = None,
) -> StreamingResponse:
    """Stream the caller's own `payment.*` and `user.*`, from now on or after an event; ends with the token.

    The event `reset` means that events were left out, since too many were stored after `Last-Event-ID`.
    """
    try:
        since = Position.parse(last_event_id, len(deps.payment_events)) if last_event_id else None
    except ValueError:
        message = "Input should be the id of an event of this stream"
        raise InvalidField("header/last-event-id", "invalid_event_id", message) from None
    deps.capacity.become_stream(caller.id)
    await deps.broadcaster.wait_started()
    async with deps.broadcaster.listening() as now:  # refused while NATS is unavailable; `_lines` needs it once more
        lines = _lines(deps, caller, since or now)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(lines, media_type="text/event-stream", headers=headers)


async def _lines(deps: Dependencies, caller: Caller, since: Position) -> AsyncIterator[bytes]:
    # An id before the first event: a client that is disconnected before it resumes here.
    yield format_sse_event(id=str(since), retry=_RETRY_MILLISECONDS)
    try:
        async with deps.broadcaster.listening():
            seconds = caller.claims.exp - deps.clock.unix_time()
            async for item in deps.broadcaster.events(caller.id, caller.session, since, seconds):
                if item is None:
                    yield KEEPALIVE_COMMENT
                else:
                    yield format_sse_event(id=str(item.at), event=item.type, data_str=item.body.decode())
    except Unavailable as error:
        log.warning("event stream ended: events cannot arrive", reason=str(error))
