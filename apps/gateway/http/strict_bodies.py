"""JSON bodies, read as strictly as RFC 8259 and RFC 7493 allow: what two readers could read differently is refused."""

import json
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

from fastapi import Request, Response
from fastapi.routing import APIRoute


class _StrictRequest(Request):
    async def json(self) -> Any:
        """Read the body; raises `JSONDecodeError` for a name that stands twice, and for NaN and the infinities."""
        if not hasattr(self, "_json"):
            body = await self.body()
            self._json = json.loads(body, object_pairs_hook=_object, parse_constant=_no_number)
        return self._json


class StrictRoute(APIRoute):
    """A route whose JSON body is read strictly."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what answers a request."""
        answer = super().get_route_handler()

        async def strictly(request: Request) -> Response:
            return await answer(_StrictRequest(request.scope, request.receive))

        return strictly


def _object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) < len(members):
        # Of {"amount": 1, "amount": 1000} one reader takes the first and another the last.
        raise json.JSONDecodeError("a name stands twice in one object", "", 0)
    return found


def _no_number(text: str) -> NoReturn:
    raise json.JSONDecodeError(f"{text} is no JSON", "", 0)
