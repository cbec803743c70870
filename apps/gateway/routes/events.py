"""The caller's events as they happen: Server-Sent Events."""

import time
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Header
from fastapi.responses import StreamingResponse
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event

from apps.gateway.deps import CurrentUser, Deps
from apps.gateway.http.openapi import responses, success
from apps.gateway.sse.broadcaster import Item
from apps.gateway.sse.history import Position
from kit.errors import InvalidField

router = APIRouter(tags=["events"])

_RETRY_MILLISECONDS = 1000


@router.get(
    "/events",
    response_class=StreamingResponse,
    responses=responses(401, also={200: {**success("The events."), "content": {"text/event-stream": {}}}}),
)
async def stream_events(
    caller: CurrentUser,
    deps: Deps,
    last_event_id: Annotated[str | None, Header(max_length=50, description="Begin after this event.")] = None,
) -> StreamingResponse:
    """Stream the caller's own `payment.*` and `user.*`, from now on or after an event; ends with the token."""
    try:
        since = Position.parse(last_event_id) if last_event_id else None
    except ValueError:
        message = "Input should be the id of an event of this stream"
        raise InvalidField("header/last-event-id", "invalid_event_id", message) from None
    await deps.broadcaster.wait_started()
    since = since or deps.broadcaster.position
    events = deps.broadcaster.events(caller.id, since, caller.claims.exp - time.time())
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(_lines(events, since), media_type="text/event-stream", headers=headers)


async def _lines(events: AsyncIterator[Item | None], since: Position) -> AsyncIterator[bytes]:
    # An id before the first event: a client that is disconnected before it resumes here.
    yield format_sse_event(id=str(since), retry=_RETRY_MILLISECONDS)
    async for item in events:
        if item is None:
            yield KEEPALIVE_COMMENT
        else:
            yield format_sse_event(id=str(item.at), event=item.type, data_str=item.body.decode())
