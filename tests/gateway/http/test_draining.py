"""A gateway that stops answers what is on its way, and sends its clients to other processes."""

import asyncio
from contextlib import AsyncExitStack
from urllib.parse import urlsplit

import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from apps.gateway.http.protocol import ConnectionLimits, Connections
from tests.support.middleware import middleware
from tests.support.polling import eventually
from tests.support.raw_http import connected
from tests.support.served import served

GET = b"GET / HTTP/1.1\r\nHost: store\r\n\r\n"
PATIENT = ConnectionLimits(closing_time=30)


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("hello")(scope, receive, send)


async def _refuses(url: str) -> bool:
    """Return whether nothing listens any more."""
    parts = urlsplit(url)
    try:
        _, writer = await asyncio.open_connection(parts.hostname, parts.port)
    except OSError:
        return True
    writer.close()
    return False


@pytest.mark.parametrize("requests_before", [0, 1])
async def test_request_that_arrives_while_the_server_stops_is_answered(requests_before: int) -> None:
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(served(middleware(hello), PATIENT))
        async with connected(url) as [connection]:
            for _ in range(requests_before):
                connection.send(GET)
                assert b"connection: close" not in await connection.head()
            if not requests_before:
                await asyncio.sleep(0)  # accepted, and silent
            stopping = asyncio.create_task(stack.aclose())
            await eventually(lambda: _refuses(url))
            assert not stopping.done()
            connection.send(GET)
            answer = await connection.rest()
            assert b" 200 OK" in answer
            assert b"connection: close" in answer
            await stopping


async def test_idle_connection_is_closed_after_a_while() -> None:
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(served(middleware(hello), ConnectionLimits(closing_time=0.1)))
        async with connected(url) as [connection]:
            connection.send(GET)
            await connection.head()
            stopping = asyncio.create_task(stack.aclose())
            assert await connection.rest() in {b"", b"hello"}
            await stopping


async def test_draining_process_ends_each_connection_with_its_response() -> None:
    connections = Connections()
    async with served(middleware(hello), connections=connections) as url:
        async with connected(url) as [connection]:
            connection.send(GET)
            assert b"connection: close" not in await connection.head()
            connections.is_draining = True
            connection.send(GET)
            assert b"connection: close" in await connection.rest()
        async with connected(url) as [connection]:  # it still listens
            connection.send(GET)
            assert b"connection: close" in await connection.rest()
