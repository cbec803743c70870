"""The caller's events as they happen: Server-Sent Events."""

import time
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Header
from fastapi.responses import StreamingResponse

from apps.gateway.deps import CurrentUser, Gateway
from apps.gateway.http.openapi import answered, documented
from apps.gateway.sse.broadcaster import Item
from apps.gateway.sse.history import Position
from kit.errors import InvalidField

router = APIRouter(tags=["events"])

_RETRY_MILLISECONDS = 1000


@router.get(
    "/events",
    response_class=StreamingResponse,
    responses=documented(401, also={200: {**answered("The events."), "content": {"text/event-stream": {}}}}),
)
async def stream_events(
    caller: CurrentUser,
    gateway: Gateway,
    last_event_id: Annotated[str | None, Header(max_length=50, description="Begin after this event.")] = None,
) -> StreamingResponse:
    """Stream the caller's own `payment.*` and `user.*`, from now on or after an event; ends with the token."""
    try:
        since = Position.parse(last_event_id) if last_event_id else None
    except ValueError:
        message = "Input should be the id of an event of this stream"
        raise InvalidField("header/last-event-id", "invalid_event_id", message) from None
    await gateway.feed.started()
    since = since or gateway.feed.position
    events = gateway.feed.events(caller.id, since, caller.claims.exp - time.time())
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(_lines(events, since), media_type="text/event-stream", headers=headers)


async def _lines(events: AsyncIterator[Item | None], since: Position) -> AsyncIterator[bytes]:
    # An id before the first event: whoever is cut off without one still resumes here.
    yield f"retry: {_RETRY_MILLISECONDS}\nid: {since}\n\n".encode()
    async for item in events:
        if item is None:
            yield b":\n\n"
        else:
            yield b"id: %b\nevent: %b\ndata: %b\n\n" % (str(item.at).encode(), item.type.encode(), item.body)
