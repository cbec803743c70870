"""Request bodies: read before a request takes a place or anything parses them, up to the limit of their route."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress

from starlette.types import Message, Receive, Scope

from apps.gateway.errors import BodyTooLarge, MalformedBody, RequestTimeout

LATE = "body_timeout"
"""Member of the scope's `state` once the body is late: the server's limit, in seconds."""
_MAX_DISCARDED = 16 << 20
"""Bytes of a body that is too large that are read and discarded."""
_DISCARD_TIMEOUT = 5.0


class BodyLimits:
    """Reads whole bodies of at most `payments` bytes at `/payments`, and `others` elsewhere."""

    def __init__(self, *, payments: int = 256 * 1024, others: int = 16 * 1024) -> None:
        self._payments = payments
        self._others = others

    async def read(self, scope: Scope, headers: Mapping[bytes, bytes], receive: Receive) -> Receive:
        """Read the body and return a `receive` for the application that begins with all of it.

        Raises `BodyTooLarge` above the limit, with or without `Content-Length`; `RequestTimeout` once the server says
        that the body is late; `MalformedBody` if the client is gone.
        """
        limit = self._payments if scope["path"] == "/payments" else self._others
        length = headers.get(b"content-length", b"")
        if length.isdigit() and int(length) > limit:  # the server refuses a length that is not a number
            if b"expect" not in headers:  # a client that waits for 100 (Continue) sends nothing
                await _discard(receive)
            raise BodyTooLarge(limit)
        message = await receive()
        if message.get("more_body"):
            message = await _whole(scope, message, receive, limit)
        if len(message.get("body", b"")) > limit:
            raise BodyTooLarge(limit)
        if message["type"] == "http.disconnect":
            raise MalformedBody
        return _replay(message, receive)


async def _whole(scope: Scope, message: Message, receive: Receive, limit: int) -> Message:
    body = bytearray(message.get("body", b""))
    while message.get("more_body"):
        if len(body) > limit:
            await _discard(receive)
            raise BodyTooLarge(limit)
        if timeout := scope.get("state", {}).get(LATE):
            raise RequestTimeout("body", timeout)
        message = await receive()
        body += message.get("body", b"")
    return {**message, "body": bytes(body)}


def _replay(message: Message, receive: Receive) -> Receive:
    messages = [message]

    async def replayed() -> Message:
        return messages.pop() if messages else await receive()

    return replayed


async def _discard(receive: Receive) -> None:
    """Read the rest, up to a bound: if the connection closed earlier, the client would lose the response."""
    left = _MAX_DISCARDED
    with suppress(TimeoutError):
        async with asyncio.timeout(_DISCARD_TIMEOUT):
            while left > 0 and (message := await receive()).get("more_body"):
                left -= len(message.get("body", b""))
