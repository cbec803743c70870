"""The caller's events as they happen: Server-Sent Events."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Header
from fastapi.responses import StreamingResponse

from apps.gateway.deps import Gateway, SignedIn
from apps.gateway.feed import Feed, Item, Position
from apps.gateway.problems import documented
from kit.errors import InvalidField

router = APIRouter(tags=["events"])

_KEEP_ALIVE_SECONDS = 15.0
_RETRY_MILLISECONDS = 1000


@router.get(
    "/events",
    response_class=StreamingResponse,
    responses=documented(401, also={200: {"description": "The events.", "content": {"text/event-stream": {}}}}),
)
async def stream_events(
    caller: SignedIn,
    gateway: Gateway,
    last_event_id: Annotated[str | None, Header(max_length=50, description="Begin after this event.")] = None,
) -> StreamingResponse:
    """Stream the caller's own `payment.*` and `user.*`, from now on or after an event; ends with the token."""
    try:
        since = Position.parse(last_event_id) if last_event_id else None
    except ValueError:
        message = "Input should be the id of an event of this stream"
        raise InvalidField("header/last-event-id", "invalid_event_id", message) from None
    lines = _lines(gateway.feed, gateway.feed.events(caller.id, since), since, caller.claims.exp - time.time())
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(lines, media_type="text/event-stream", headers=headers)


async def _lines(
    feed: Feed, events: AsyncIterator[Item], since: Position | None, seconds: float
) -> AsyncIterator[bytes]:
    """Write events as a stream of lines, for as long as the token is good."""
    ends = time.monotonic() + seconds
    # An id before the first event: whoever is cut off without one still resumes here.
    yield f"retry: {_RETRY_MILLISECONDS}\nid: {since or feed.position}\n\n".encode()
    upcoming = asyncio.ensure_future(anext(events, None))
    try:
        while (left := ends - time.monotonic()) > 0:
            done, _ = await asyncio.wait([upcoming], timeout=min(_KEEP_ALIVE_SECONDS, left))
            if not done:
                yield b":\n\n"
                continue
            item = upcoming.result()
            if item is None:
                return
            yield b"id: %b\nevent: %b\ndata: %b\n\n" % (str(item.at).encode(), item.type.encode(), item.body)
            upcoming = asyncio.ensure_future(anext(events, None))
    finally:
        upcoming.cancel()
        await asyncio.wait([upcoming])
        await events.aclose()  # type: ignore[attr-defined]
