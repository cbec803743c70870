"""Clients without a login hold sockets, memory or parsers: the store serves the others meanwhile."""

import asyncio

import httpx
import pytest

from tests.support.http_client import PASSWORD, calling, say, sign_up
from tests.support.raw_http import END, connected
from tests.support.running_store import Running

MIB = 1 << 20
HALVES = {
    "a sign-in": b"POST /auth/sessions HTTP/1.1\r\nHost: store\r\nContent-Length: 60\r\n\r\n",
    "a sign-up": b"POST /users HTTP/1.1\r\nHost: store\r\nContent-Length: 60\r\n\r\n{",
    "a payment": b"POST /payments HTTP/1.1\r\nHost: store\r\nTransfer-Encoding: chunked\r\n\r\n",
    "a header section": b"GET /users/me HTTP/1.1\r\nHost: st",
}


@pytest.mark.parametrize("sockets", [64, 1000])
@pytest.mark.parametrize("half", HALVES)
async def test_half_requests_leave_the_store_to_others(unlimited_store: Running, half: str, sockets: int) -> None:
    async with calling(unlimited_store) as http, connected(unlimited_store.url, sockets) as halves:
        ada = await sign_up(http)
        for connection in halves:
            connection.send(HALVES[half])
        await asyncio.gather(*(connection.writer.drain() for connection in halves))
        credentials = {"email": ada.email, "password": PASSWORD}
        for _ in range(3):
            answers = [await http.post("/auth/sessions", json=credentials), await ada("GET", "/users/me")]
            assert [answer.status_code for answer in answers] == [201, 200]
        say(f"{sockets} sockets with half of {half}: {[answer.elapsed.total_seconds() for answer in answers]} s")
        late, *_ = await asyncio.gather(*(connection.rest() for connection in halves))
        assert late.startswith(b"HTTP/1.1 408 ")


async def test_endless_header_sections_take_no_memory(unlimited_store: Running) -> None:
    async with calling(unlimited_store) as http:
        ada = await sign_up(http)
        before = unlimited_store.memory("gateway")
        async with connected(unlimited_store.url, 30) as connections:
            for connection in connections:
                connection.send(b"GET / HTTP/1.1\r\nHost: store\r\nX: " + b"x" * MIB)
            answers = await asyncio.gather(*(connection.rest() for connection in connections))
        assert all(answer.startswith(b"HTTP/1.1 431 ") for answer in answers)
        assert unlimited_store.memory("gateway") - before < 20 * MIB
        assert (await ada("GET", "/users/me")).status_code == 200


@pytest.mark.parametrize("path", ["/docs", "/problems/not-found", "/health", "/users/me", "/nothing", "/openapi.json"])
async def test_every_response_has_the_security_fields_once(unlimited_store: Running, path: str) -> None:
    async with calling(unlimited_store) as http:
        for method in ("GET", "HEAD"):
            response: httpx.Response = await http.request(method, path)
            assert response.headers.get_list("X-Content-Type-Options") == ["nosniff"]
            assert response.headers.get_list("Referrer-Policy") == ["no-referrer"]
            assert len(response.headers.get_list("Cache-Control")) == 1
            assert len(response.headers.get_list("Date")) == 1
            assert "Server" not in response.headers
            if response.headers["Content-Type"].startswith("text/html"):
                assert "frame-ancestors 'none'" in response.headers["Content-Security-Policy"]


async def test_malformed_http_keeps_its_problem(unlimited_store: Running) -> None:
    async with connected(unlimited_store.url) as [connection]:
        connection.send(b"GET /\x00 HTTP/1.1\r\nHost: store\r\n\r\n")
        head, _, body = (await connection.rest()).partition(END)
        assert head.startswith(b"HTTP/1.1 400 ")
        assert b'"code": "malformed-request"' in body
