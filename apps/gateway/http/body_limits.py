"""The size limit of request bodies."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus

from fastapi import HTTPException
from starlette.types import Message, Receive

from apps.gateway.errors import BodyTooLarge

_DISCARD_FACTOR = 16
"""Up to this many times the limit of a body that is too large is read and discarded."""
_DISCARD_TIMEOUT = 5.0


class BodyLimit:
    """Refuses bodies above `limit` bytes with 413, with or without `Content-Length`."""

    def __init__(self, limit: int) -> None:
        self._limit = limit

    async def check(self, headers: Mapping[bytes, bytes], receive: Receive) -> None:
        """Raise `BodyTooLarge` if the request announces a body above the limit."""
        length = headers.get(b"content-length", b"")
        if length.isdigit() and int(length) > self._limit:  # the server refuses a length that is not a number
            if b"expect" not in headers:  # a client that waits for 100 (Continue) sends nothing
                await self._discard(receive)
            raise BodyTooLarge(self._limit)

    def limited(self, receive: Receive) -> Receive:
        """Return `receive` for the application; it raises `HTTPException` 413 above the limit."""
        read = 0

        async def receive_limited() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._limit:
                if message.get("more_body"):
                    await self._discard(receive)
                # FastAPI passes on only an HTTPException while it reads a body.
                raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, headers={"Connection": "close"})
            return message

        return receive_limited

    async def _discard(self, receive: Receive) -> None:
        """Read the rest, up to a bound: if the connection closed earlier, the client would lose the response."""
        left = self._limit * _DISCARD_FACTOR
        with suppress(TimeoutError):
            async with asyncio.timeout(_DISCARD_TIMEOUT):
                while left > 0 and (message := await receive()).get("more_body"):
                    left -= len(message.get("body", b""))
