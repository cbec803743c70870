"""ASGI middleware: request ids, and the size limit of bodies."""

import asyncio
import re
from contextlib import suppress
from http import HTTPStatus

from fastapi import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uuid_utils.compat import uuid7

from apps.gateway.errors import BodyTooLarge
from apps.gateway.http.problems import problem_response
from contracts.headers import REQUEST_ID
from kit.runtime.tracing import TRACEPARENT, Trace, new_traceparent, trace

_DISCARD_FACTOR = 16
"""Up to this many times the limit of a body that is too large is read and discarded."""
_DISCARD_TIMEOUT = 5.0

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
_TRACEPARENT = re.compile(rb"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


class RequestId:
    """Takes `X-Request-Id` and `traceparent` (W3C) or makes new ones; every response has the id."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        given_id, given_parent = headers.get(REQUEST_ID.lower().encode(), b""), headers.get(TRACEPARENT.encode(), b"")
        request_id = given_id.decode() if _REQUEST_ID.fullmatch(given_id) else uuid7().hex
        parent = given_parent.decode() if _TRACEPARENT.fullmatch(given_parent) else new_traceparent()
        trace.set(Trace(request_id, parent))

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (REQUEST_ID.lower().encode(), request_id.encode())]
            await send(message)

        await self._app(scope, receive, send_with_id)


class BodySizeLimit:
    """Refuses bodies above `limit` bytes with 413, with or without `Content-Length`."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"")
        if length.isdigit() and int(length) > self._limit:  # the server refuses a length that is not a number
            if b"expect" not in headers:  # a client that waits for 100 (Continue) sends nothing
                await self._discard(receive)
            await problem_response(BodyTooLarge(self._limit))(scope, receive, send)
            return
        read = 0

        async def limited() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._limit:
                if message.get("more_body"):
                    await self._discard(receive)
                # FastAPI passes on only an HTTPException while it reads a body.
                raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, headers={"Connection": "close"})
            return message

        await self._app(scope, limited, send)

    async def _discard(self, receive: Receive) -> None:
        """Read the rest, up to a bound: if the connection closed earlier, the client would lose the response."""
        left = self._limit * _DISCARD_FACTOR
        with suppress(TimeoutError):
            async with asyncio.timeout(_DISCARD_TIMEOUT):
                while left > 0 and (message := await receive()).get("more_body"):
                    left -= len(message.get("body", b""))
