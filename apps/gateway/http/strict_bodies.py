"""Strict JSON bodies (RFC 8259, RFC 7493): refuse what two parsers could read differently."""

import json
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

from fastapi import Request, Response
from fastapi.routing import APIRoute


def parse(body: bytes) -> Any:
    """Parse a JSON body. Raises `JSONDecodeError` for a duplicate name, NaN or an infinity."""
    return _DECODER.decode(body.decode(json.detect_encoding(body), "surrogatepass"))


class _StrictRequest(Request):
    async def json(self) -> Any:
        """Parse the body. Raises `JSONDecodeError` for a duplicate name, NaN or an infinity."""
        if not hasattr(self, "_json"):
            self._json = parse(await self.body())
        return self._json


class StrictRoute(APIRoute):
    """A route whose JSON body is parsed strictly."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler; it gets a strict request if the route has a body."""
        handler = super().get_route_handler()
        if self.body_field is None:
            return handler

        async def strict_handler(request: Request) -> Response:
            return await handler(_StrictRequest(request.scope, request.receive))

        return strict_handler


def _object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    by_name = dict(members)
    if len(by_name) < len(members):
        # Of {"amount": 1, "amount": 1000} one parser takes the first and another the last.
        raise json.JSONDecodeError("duplicate name in an object", "", 0)
    return by_name


def _refuse_constant(text: str) -> NoReturn:
    raise json.JSONDecodeError(f"{text} is not JSON", "", 0)


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_refuse_constant)
"""`json.loads` with options makes a new one each time, for a third of the cost of a small body."""
