"""The limits of a connection, on real sockets under uvicorn."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from apps.gateway.http.backpressure import Capacity
from apps.gateway.http.protocol import ConnectionLimits
from tests.support.middleware import middleware
from tests.support.raw_http import END, Connection, connected
from tests.support.served import served

pytestmark = pytest.mark.asyncio(loop_scope="module")

KIB = 1024
SHORT = ConnectionLimits(header_timeout=0.3, body_timeout=0.3, linger_timeout=0.3, sweep_interval=0.05)
GET = b"GET / HTTP/1.1\r\nHost: store\r\n\r\n"


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Respond with the length of the body."""
    body = await Request(scope, receive).body()
    await PlainTextResponse(f"{len(body)} bytes")(scope, receive, send)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def url() -> AsyncIterator[str]:
    """Serve with the default limits."""
    async with served(middleware(echo)) as address:
        yield address


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def impatient() -> AsyncIterator[str]:
    """Serve with short timeouts, and place for one request."""
    async with served(middleware(echo, Capacity(requests=1, streams=1, timeout=1)), SHORT) as address:
        yield address


def request(size: int) -> bytes:
    """Return a GET with a header section of this size."""
    start, end = b"GET / HTTP/1.1\r\nHost: store\r\nX: ", END
    return start + b"x" * (size - len(start) - len(end)) + end


async def refused(connection: Connection, status: int, code: str) -> None:
    """Fail unless the next response is this problem and the last one of the connection."""
    head, _, body = (await connection.rest()).partition(END)
    assert head.startswith(b"HTTP/1.1 %d " % status), head
    assert b"content-type: application/problem+json" in head
    assert b"cache-control: no-store" in head
    assert b"nosniff" in head
    assert b"x-request-id: " in head.lower()
    assert b"connection: close" in head.lower()
    assert f'"code": "{code}"'.encode() in body


async def test_endless_header_section_is_refused_and_closed(url: str) -> None:
    async with connected(url) as [connection]:
        connection.send(request(1024 * KIB)[: -len(END)])
        await refused(connection, 431, "headers-too-large")
        await connection.reset()


@pytest.mark.parametrize("pieces", [1, 7])
async def test_header_section_has_at_most_32_kib(url: str, pieces: int) -> None:
    for size, is_served in ((32 * KIB, True), (32 * KIB + 1, False)):
        async with connected(url) as [connection]:
            data = request(size)
            step = len(data) // pieces + 1
            for start in range(0, len(data), step):
                connection.send(data[start : start + step])
                await connection.writer.drain()
                await asyncio.sleep(0)
            if is_served:
                assert b"200 OK" in await connection.head()
            else:
                await refused(connection, 431, "headers-too-large")


async def test_many_header_fields_count_together(url: str) -> None:
    async with connected(url) as [connection]:
        connection.send(b"GET / HTTP/1.1\r\nHost: store\r\n" + b"X: y\r\n" * 20_000 + b"\r\n")
        await refused(connection, 431, "headers-too-large")


async def test_bodies_and_earlier_requests_do_not_count(url: str) -> None:
    async with connected(url) as [connection]:
        body = b"x" * (16 * KIB)
        post = b"POST / HTTP/1.1\r\nHost: store\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        connection.send(post * 5 + request(20 * KIB) * 3)
        for _ in range(8):
            head = await connection.head()
            assert b"200 OK" in head
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
            await connection.reader.readexactly(length)


async def test_request_before_an_endless_one_is_answered(url: str) -> None:
    async with connected(url) as [connection]:
        connection.send(GET + request(40 * KIB)[: -len(END)])
        assert b"200 OK" in await connection.head()
        await connection.rest()


@pytest.mark.parametrize("sent", [b"G", b"GET / HTTP/1.1\r\nHost: st", GET + b"GET / HTTP/1.1\r\n"])
async def test_late_header_section_is_refused(impatient: str, sent: bytes) -> None:
    async with connected(impatient) as [connection]:
        connection.send(sent)
        if sent.startswith(GET):
            assert b"200 OK" in await connection.head()
            await connection.reader.readexactly(len("0 bytes"))
        await refused(connection, 408, "request-timeout")
        await connection.reset()


async def test_slow_header_section_is_refused(impatient: str) -> None:
    """Each byte comes in time, the section does not."""
    async with connected(impatient) as [connection]:
        answer = asyncio.create_task(refused(connection, 408, "request-timeout"))
        for byte in request(4 * KIB):
            if answer.done():
                break
            connection.send(bytes([byte]))
            await asyncio.sleep(0.01)
        await answer


@pytest.mark.parametrize("sent", [b"", b"\r\n" * 10])
async def test_silent_connection_is_closed(impatient: str, sent: bytes) -> None:
    async with connected(impatient) as [connection]:
        connection.send(sent)
        await connection.rest()


async def test_empty_lines_do_not_keep_a_connection(impatient: str) -> None:
    async with connected(impatient) as [connection]:
        connection.send(GET)
        assert b"200 OK" in await connection.head()
        connection.send(b"\r\n")
        await connection.rest()


@pytest.mark.parametrize("framing", [b"Content-Length: 60", b"Transfer-Encoding: chunked"])
@pytest.mark.parametrize("method", [b"POST", b"GET"])
async def test_late_body_is_refused(impatient: str, framing: bytes, method: bytes) -> None:
    async with connected(impatient) as [connection]:
        connection.send(method + b" / HTTP/1.1\r\nHost: store\r\n" + framing + b"\r\n\r\n")
        await refused(connection, 408, "request-timeout")


async def test_half_requests_take_no_place(url: str) -> None:
    app = middleware(echo, Capacity(requests=1, streams=1, timeout=1))
    async with served(app) as one_place, connected(one_place, 64) as halves, connected(one_place) as [whole]:
        for number, half in enumerate(halves):
            half.send(b"POST / HTTP/1.1\r\nHost: store\r\nContent-Length: 60\r\n\r\n" + b"x" * (number % 60))
        for _ in range(3):
            whole.send(GET)
            assert b"200 OK" in await whole.head()
            await whole.reader.readexactly(len("0 bytes"))


@pytest.mark.parametrize(
    ("hosts", "version", "is_served"),
    [
        ([], "1.1", False),
        (["a", "a"], "1.1", False),
        (["a", "b"], "1.0", False),
        ([], "1.0", True),
        (["a"], "1.1", True),
    ],
)
async def test_host_stands_exactly_once(url: str, hosts: list[str], version: str, is_served: bool) -> None:
    async with connected(url) as [connection]:
        fields = "".join(f"Host: {host}\r\n" for host in hosts)
        connection.send(f"GET / HTTP/{version}\r\n{fields}\r\n".encode())
        if is_served:
            assert b"200 OK" in await connection.head()
        else:
            await refused(connection, 400, "invalid-host")


@pytest.mark.parametrize(
    "host",
    [
        *("", " ", ":80", "a b", "a\tb", "ada@store", "store/path", "store?x", "store#x", "store\\x", "a,b:c", "a:b"),
        *("store:-1", "store:65536", "store:999999999", "store:80:80", "store:8 0", "http://store", "%", "%zz", "<x>"),
        *("[", "[]", "[::1", "::1", "[::1]x", "[:::1]", "[1.2.3.4]", "[fe80::1%25eth0]", "störe", "x" * 256),
    ],
)
@pytest.mark.parametrize("version", ["1.1", "1.0"])
async def test_malformed_host_is_refused(url: str, host: str, version: str) -> None:
    async with connected(url) as [connection]:
        connection.send(f"GET / HTTP/{version}\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        await refused(connection, 400, "invalid-host")


@pytest.mark.parametrize("control", [b"\0", b"\x01", b"\x1b", b"\x7f", b"\n"])
async def test_control_character_in_a_host_is_refused(url: str, control: bytes) -> None:
    async with connected(url) as [connection]:
        connection.send(b"GET / HTTP/1.1\r\nHost: sto" + control + b"re\r\n\r\n")
        assert b" 400 " in await connection.head()


@pytest.mark.parametrize(
    "host",
    [
        *("store", "STORE.", "store:", "store:3000", "store:65535", "127.0.0.1:3000", "a_b.example", "a%41b", "a-b~c"),
        *("[::1]", "[::1]:3000", "[2001:db8::1.2.3.4]", "xn--stre-6qa.example", "x" * 255),
    ],
)
async def test_well_formed_host_is_served_again_and_again(url: str, host: str) -> None:
    async with connected(url) as [connection]:
        for _ in range(2):
            connection.send(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            assert b"200 OK" in await connection.head()


async def test_every_response_has_the_security_fields() -> None:
    async with served(middleware(echo), hsts_max_age=300) as secure, connected(secure) as [connection]:
        connection.send(GET)
        fields = (await connection.head()).lower()
        for field in (b"x-content-type-options: nosniff", b"referrer-policy: no-referrer", b"cache-control: no-store"):
            assert fields.count(field) == 1
        assert b"strict-transport-security: max-age=300\r\n" in fields
        assert b"\r\ndate: " in fields
        assert b"\r\nserver: " not in fields
