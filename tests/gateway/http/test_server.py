"""The gateway's HTTP protocol under uvicorn, with a transport in memory."""

import asyncio
from typing import Any

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from apps.gateway.http.protocol import GatewayProtocol
from tests.support.middleware import middleware
from tests.support.polling import eventually

GET = b"GET / HTTP/1.1\r\nHost: store\r\nX-Request-Id: abc\r\n\r\n"


class Transport(asyncio.Transport):
    """A connection that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.closed = False

    def write(self, data: Any) -> None:
        self.writes.append(bytes(data))

    def can_write_eof(self) -> bool:
        return False

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


def app_with(status: int, headers: list[tuple[bytes, bytes]], *parts: bytes) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": headers})
        for number, part in enumerate(parts, 1):
            await send({"type": "http.response.body", "body": part, "more_body": number < len(parts)})

    return app


async def exchange(app: ASGIApp, *requests: bytes, protocol: type[HttpToolsProtocol] = GatewayProtocol) -> Transport:
    """Return the transport after all requests are answered."""
    server = ServerState()
    server.default_headers = [(b"date", b"now"), (b"server", b"test")]
    connection = protocol(Config(app, lifespan="off"), server, {})
    transport = Transport()
    connection.connection_made(transport)
    for request in requests:
        connection.data_received(request)
    await eventually(lambda: not server.tasks)
    connection.connection_lost(ConnectionResetError())  # a lost connection is not closed, so `closed` is the server's
    return transport


def with_id(app: ASGIApp) -> ASGIApp:
    """Return an app whose responses have the request id, for uvicorn alone."""

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_id(message: Any) -> None:
            if message["type"] == "http.response.start":
                added = [(b"x-request-id", b"abc"), (b"cache-control", b"no-store")]
                message = {**message, "headers": [*message["headers"], *added]}
            await send(message)

        await app(scope, receive, send_with_id)

    return wrapped


LENGTH = (b"content-length", b"5")
JSON = (b"content-type", b"application/json")


@pytest.mark.parametrize("request_bytes", [GET, GET.replace(b"1.1", b"1.0"), GET.replace(b"GET", b"HEAD")])
@pytest.mark.parametrize(
    ("status", "headers", "parts"),
    [
        (200, [LENGTH, JSON], [b"hello"]),
        (404, [JSON, LENGTH], [b"hello"]),
        (200, [(b"content-length", b"0")], [b""]),
        (200, [LENGTH], [b"he", b"llo"]),
        (200, [JSON], [b"hello"]),
        (200, [JSON], [b"he", b"llo", b""]),
        (204, [], [b""]),
        (304, [(b"etag", b'"1"')], [b""]),
        (200, [LENGTH, (b"connection", b"close")], [b"hello"]),
        (200, [(b"transfer-encoding", b"chunked")], [b"hello"]),
    ],
)
async def test_responses_are_those_of_uvicorn(
    request_bytes: bytes, status: int, headers: list[tuple[bytes, bytes]], parts: list[bytes]
) -> None:
    app = app_with(status, headers, *parts)
    ours = await exchange(middleware(app), request_bytes)
    theirs = await exchange(with_id(app), request_bytes, protocol=HttpToolsProtocol)
    assert b"".join(ours.writes) == b"".join(theirs.writes)
    assert ours.closed == theirs.closed


async def test_head_and_body_are_one_write() -> None:
    """uvicorn alone writes them separately, which a new version may change."""
    app = app_with(200, [LENGTH], b"hello")
    assert len((await exchange(middleware(app), GET)).writes) == 1
    assert len((await exchange(app, GET, protocol=HttpToolsProtocol)).writes) == 2


async def test_pipelined_requests_are_answered_in_order() -> None:
    transport = await exchange(middleware(app_with(200, [LENGTH], b"hello")), GET * 3, GET)
    assert len(transport.writes) == 4
    assert not transport.closed


@pytest.mark.parametrize("header", [(b"x", b"a\r\nb: c"), (b"x", b"\x00"), (b"x y", b"a"), (b"x\n", b"a")])
async def test_header_injection_is_refused(header: tuple[bytes, bytes]) -> None:
    transport = await exchange(middleware(app_with(200, [LENGTH, header], b"hello")), GET)
    assert not any(b"200 OK" in part for part in transport.writes)


async def test_wrong_content_length_is_not_sent_as_a_response() -> None:
    transport = await exchange(middleware(app_with(200, [LENGTH], b"hell")), GET)
    assert transport.closed


async def test_lost_connection_gets_nothing() -> None:
    go = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await go.wait()
        await app_with(200, [LENGTH], b"hello")(scope, receive, send)

    server = ServerState()
    connection = GatewayProtocol(Config(middleware(app), lifespan="off"), server, {})
    transport = Transport()
    connection.connection_made(transport)
    connection.data_received(GET)
    await asyncio.sleep(0)
    connection.connection_lost(ConnectionResetError())
    go.set()
    await eventually(lambda: not server.tasks)
    assert transport.writes == []


async def test_uvicorn_writes_no_access_line(capfd: pytest.CaptureFixture[str]) -> None:
    await exchange(app_with(200, [LENGTH], b"hello"), GET)
    assert "HTTP/1.1" not in "".join(capfd.readouterr())
