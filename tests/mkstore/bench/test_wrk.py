"""wrk's result, and the requests that it sends."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from mkstore.bench.load import wrk
from mkstore.bench.load.calls import UNIQUE, Call, json_call, request_file
from mkstore.bench.load.wrk import WrkFailed, parse

OUTPUT = """Running 1s test @ http://127.0.0.1:30767
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency    61.93ms   39.03ms 225.36ms   80.85%
    Req/Sec   548.11    246.54     1.01k    66.67%
  496 requests in 1.00s, 337.59KB read
  Non-2xx or 3xx responses: 12
Requests/sec:    494.21
Transfer/sec:    336.37KB

{"requests": 496, "seconds": 1.003617, "connect": 0, "read": 0, "write": 0, "timeout": 3, "status": 12, "p50": 51.206,\
 "p75": 78.005, "p90": 112.119, "p95": 154.112, "p99": 205.891, "p99.9": 225.355, "p100": 225.355}
"""


def test_result_has_counts_and_latency_percentiles() -> None:
    load = parse(OUTPUT)
    assert (load.requests, load.seconds, load.succeeded) == (496, 1.003617, 484)
    assert load.failures == {"connect": 0, "read": 0, "write": 0, "timeout": 3, "status": 12}
    assert list(load.latency) == ["p50", "p75", "p90", "p95", "p99", "p99.9", "p100"]
    assert load.latency["p99"] == 205.891


@pytest.mark.parametrize(
    "output", ["", "unable to connect to 127.0.0.1:1 Connection refused\n", OUTPUT[: OUTPUT.index('"status": 12,')]]
)
def test_output_without_a_result_is_refused(output: str) -> None:
    with pytest.raises(WrkFailed, match="without a result"):
        parse(output)


def test_missing_wrk_is_one_sentence_with_the_repair(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(WrkFailed, match="wrk is not installed; install it with `apt install wrk`"):
        wrk.find()


def test_requests_are_complete_http_separated_by_zero_bytes() -> None:
    calls = [Call("GET", "/users/7", token="secret"), json_call("POST", "/payments", {"amount": 1})]
    first, second, rest = request_file(calls, "http://127.0.0.1:3000").split(b"\0")
    assert first == b"GET /users/7 HTTP/1.1\r\nHost: 127.0.0.1:3000\r\nAuthorization: Bearer secret\r\n\r\n"
    assert second.endswith(b'Content-Type: application/json\r\nContent-Length: 12\r\n\r\n{"amount":1}')
    assert not rest


@asynccontextmanager
async def counting_server(received: list[bytes]) -> AsyncIterator[str]:
    """Answer each request with 200, and keep it; one for /refused is answered with 500."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = re.search(rb"Content-Length: (\d+)", head)
                received.append(head + await reader.readexactly(int(length[1]) if length else 0))
                status = b"500 Internal Server Error" if b"/refused" in head else b"200 OK"
                writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 2\r\n\r\n{}")
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1") as server:
        host, port = server.sockets[0].getsockname()
        yield f"http://{host}:{port}"


async def test_wrk_draws_requests_and_makes_each_unique() -> None:
    received: list[bytes] = []
    calls = [
        Call("GET", "/users/1"),
        json_call("POST", "/payments", {"order": UNIQUE}, headers={"Idempotency-Key": f"order-{UNIQUE}"}),
        Call("GET", "/refused"),
    ]
    async with counting_server(received) as url:
        load = await wrk.run(url, calls, connections=4, seconds=1)
    paid = [
        re.search(rb'Key: order-([0-9a-f]{12})\r.*\{"order":"([0-9a-f]{12})"\}$', one, re.DOTALL) for one in received
    ]
    unique = [found[1] for found in paid if found and found[1] == found[2]]
    assert len(unique) == sum(one.startswith(b"POST") for one in received)
    assert len(unique) == len(set(unique)) > 1
    assert {one.split()[1] for one in received} == {b"/users/1", b"/payments", b"/refused"}
    assert 0 < load.failures["status"] < load.requests <= len(received)
    assert load.latency["p50"] <= load.latency["p99"] <= load.latency["p100"]
