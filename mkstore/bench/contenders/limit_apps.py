"""The smallest applications on the gateway's HTTP server: the limits of any service written with it."""

from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

_BODY = b'{"id":"0198c5c8-7c1e-7a52-9d3b-4f1e8a6b2c01"}'
_HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(_BODY)).encode())]

empty_route = FastAPI(openapi_url=None)


async def raw_asgi(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 - an ASGI application
    """Answer every request with a constant, without a framework."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        await send({"type": "http.response.body", "body": _BODY})


@empty_route.get("/users/{user_id}")
async def read_user(user_id: str) -> dict[str, str]:
    """Answer with the id of the path."""
    return {"id": user_id}


@empty_route.get("/health")
async def health() -> dict[str, str]:
    """Answer that it is ready."""
    return {"status": "ok"}
