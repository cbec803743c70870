"""The receiver over HTTP: what OpenTelemetry's exporter sends arrives, everything else is refused."""

import asyncio
import gzip
import json
import signal
import socket
import zlib
from collections.abc import AsyncIterator

import httpx
import pytest
from google.rpc.status_pb2 import Status
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from kit.errors import Unavailable
from mkstore.stack import ports
from mkstore.traces.receiver import MAX_BODY
from mkstore.traces.server import TraceServer
from mkstore.traces.spans import received
from portal.traces import ReceivedTraces
from tests.support.payment_spans import FIRST, SECOND, exported, record_payments

TOKEN = "a-token-of-this-start"
PROTOBUF = {"Content-Type": "application/x-protobuf"}


@pytest.fixture
async def server() -> AsyncIterator[TraceServer]:
    server = TraceServer(ports.free_port(), TOKEN)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
def url(server: TraceServer) -> str:
    return f"http://127.0.0.1:{server.port}/{TOKEN}"


@pytest.fixture
async def http(url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
        yield client


def body() -> bytes:
    exporter = InMemorySpanExporter()
    record_payments(exporter)
    content: bytes = exported(exporter).SerializeToString()
    return content


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip])
async def test_spans_of_the_exporter_are_found_by_request(url: str, compression: Compression) -> None:
    exporter = OTLPSpanExporter(f"{url}/v1/traces", compression=compression)
    await asyncio.to_thread(record_payments, exporter)
    traces = ReceivedTraces(url)
    assert [request.id for request in (await traces.newest()).requests] == [SECOND, FIRST]
    view = await traces.request(FIRST)
    assert view is not None
    assert (view.name, view.status, view.duration, view.spans) == ("POST /payments", 202, 9000, 14)
    assert await traces.request("another") is None


async def test_answer_to_an_export_is_a_response_of_otlp(http: httpx.AsyncClient, server: TraceServer) -> None:
    response = await http.post(
        "/v1/traces", content=gzip.compress(body()), headers=PROTOBUF | {"Content-Encoding": "gzip"}
    )
    assert (response.status_code, response.headers["content-type"]) == (200, "application/x-protobuf")
    assert ExportTraceServiceResponse.FromString(response.content) == ExportTraceServiceResponse()
    assert len(server.store) == 19


async def test_spans_without_valid_ids_are_counted(http: httpx.AsyncClient, server: TraceServer) -> None:
    exporter = InMemorySpanExporter()
    record_payments(exporter)
    export = exported(exporter)
    spans = [span for each in export.resource_spans for scope in each.scope_spans for span in scope.spans]
    spans[0].trace_id, spans[1].span_id, spans[2].trace_id = bytes(16), b"short", b""
    response = await http.post("/v1/traces", content=export.SerializeToString(), headers=PROTOBUF)
    answer = ExportTraceServiceResponse.FromString(response.content)
    assert (response.status_code, answer.partial_success.rejected_spans, len(server.store)) == (200, 3, 16)
    assert [span for span in received(export) if span is not None]


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"\xff\xff\xff", PROTOBUF, 400),
        (b"not gzip", PROTOBUF | {"Content-Encoding": "gzip"}, 400),
        (gzip.compress(b"whole")[:-9], PROTOBUF | {"Content-Encoding": "gzip"}, 400),
        (zlib.compress(b""), PROTOBUF | {"Content-Encoding": "deflate"}, 415),
        (b"{}", {"Content-Type": "application/json"}, 415),
        (b"", {}, 415),
        (bytes(MAX_BODY + 1), PROTOBUF, 413),
        (gzip.compress(bytes(4 * MAX_BODY), 1), PROTOBUF | {"Content-Encoding": "gzip"}, 413),
    ],
    ids=["garbage", "no-gzip", "cut-off", "deflate", "json", "no-type", "large", "bomb"],
)
async def test_everything_else_is_refused_with_a_status(
    http: httpx.AsyncClient, server: TraceServer, content: bytes, headers: dict[str, str], status: int
) -> None:
    response = await http.post("/v1/traces", content=content, headers=headers)
    assert response.status_code == status
    assert Status.FromString(response.content).message
    assert len(server.store) == 0


@pytest.mark.parametrize("path", ["/v1/traces", "/requests", f"/requests/{FIRST}"])
async def test_without_the_token_there_is_nothing(server: TraceServer, path: str) -> None:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", trust_env=False) as http:
        for prefix in ("", "/another", f"/{TOKEN}x", f"/x{TOKEN}", "//"):
            assert (await http.get(f"{prefix}{path}")).status_code == 404
            assert (await http.post(f"{prefix}{path}", content=body(), headers=PROTOBUF)).status_code == 404
    assert len(server.store) == 0


async def test_another_host_name_is_refused(http: httpx.AsyncClient, server: TraceServer) -> None:
    """A name under which a page of another site reaches the loopback."""
    for host, status in (
        ("127.0.0.1", 421),
        ("rebound.example", 421),
        (f"rebound.example:{server.port}", 421),
        (f"localhost:{server.port}", 200),
    ):
        assert (await http.get("/requests", headers={"Host": host})).status_code == status


async def test_list_and_request_are_json_for_nobody_else(http: httpx.AsyncClient) -> None:
    response = await http.get("/requests")
    assert (response.headers["cache-control"], json.loads(response.content)) == (
        "no-store",
        {"requests": [], "kept": 20_000},
    )
    assert (await http.get("/requests/unknown")).status_code == 404
    assert (await http.post("/requests")).status_code == 405


async def test_signals_are_left_to_the_process() -> None:
    """Mkstore's own handlers stop the services first."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    server = TraceServer(ports.free_port(), TOKEN)
    await server.start()
    assert {number: signal.getsignal(number) for number in before} == before
    await server.stop()


async def test_taken_port_is_an_error_of_the_start() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = TraceServer(taken.getsockname()[1], TOKEN)
        with pytest.raises(OSError, match="in use"):
            await server.start()
        await server.stop()


async def test_client_without_a_receiver_reports_it_as_unavailable(server: TraceServer, url: str) -> None:
    traces = ReceivedTraces(url)
    await traces.newest()
    await server.stop()
    for call in (traces.newest(), traces.request(FIRST)):
        with pytest.raises(Unavailable, match="receiver of traces"):
            await call
    with pytest.raises(Unavailable):
        await ReceivedTraces(f"{url}-wrong").newest()


async def test_client_gives_up_on_a_silent_receiver() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        traces = ReceivedTraces(f"http://127.0.0.1:{silent.getsockname()[1]}/token", timeout=0.1)
        with pytest.raises(Unavailable):
            await traces.newest()
