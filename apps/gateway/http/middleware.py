"""What happens to every HTTP request before a route sees it: it gets an id, and its body a limit."""

import asyncio
import re
from contextlib import suppress
from http import HTTPStatus

from fastapi import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uuid_utils.compat import uuid7

from apps.gateway.errors import BodyTooLarge
from apps.gateway.http.problems import problem_response
from kit.runtime.tracing import REQUEST_ID, TRACEPARENT, Trace, new_traceparent, trace

TOO_LARGE = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
_PASSED_OVER = 16
"""So many times the limit of a body that is too large is taken, and thrown away."""
_PASSED_OVER_SECONDS = 5.0

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
_TRACEPARENT = re.compile(rb"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


class RequestId:
    """Takes or makes `X-Request-Id` and `traceparent` (W3C), returns the id with every answer."""

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
    """Refuses bodies above a number of bytes with 413, whether they say their length or not."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app = app
        self._most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"")
        if length.isdigit() and int(length) > self._most:  # what is no number is the server's to refuse
            if b"expect" not in headers:  # who waits for 100 (Continue) is spared the sending
                await self._pass_over(receive)
            await problem_response(BodyTooLarge(self._most))(scope, receive, send)
            return
        read = 0

        async def limited() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._most:
                if message.get("more_body"):
                    await self._pass_over(receive)
                # FastAPI hands on an HTTPException of the one who reads, and nothing else.
                raise HTTPException(TOO_LARGE, headers={"Connection": "close"})
            return message

        await self._app(scope, limited, send)

    async def _pass_over(self, receive: Receive) -> None:
        """Take what still comes, up to a bound: a connection that is closed before loses the answer on its way."""
        left = self._most * _PASSED_OVER
        with suppress(TimeoutError):
            async with asyncio.timeout(_PASSED_OVER_SECONDS):
                while left > 0 and (message := await receive()).get("more_body"):
                    left -= len(message.get("body", b""))
