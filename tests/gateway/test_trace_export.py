"""What a process does with its last spans when it stops."""

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mkstore.stack import ports
from mkstore.stack.servers import NatsServer
from mkstore.traces.server import TraceServer
from tests.support.service_processes import run_service

TOKEN = "a-token"


@pytest.fixture
async def receiver() -> AsyncIterator[TraceServer]:
    server = TraceServer(ports.free_port(), TOKEN)
    await server.start()
    yield server
    await server.stop()


@pytest.mark.parametrize("options", [(), ("--workers", "2")])
async def test_stopping_process_sends_its_last_spans(
    tmp_path: Path, nats_server: NatsServer, receiver: TraceServer, options: tuple[str, ...]
) -> None:
    environment = {
        "NATS_URL": nats_server.url,
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{receiver.port}/{TOKEN}",
        "OTEL_BSP_SCHEDULE_DELAY": "600000",  # milliseconds until spans are sent; not during this test
    }
    async with run_service("gateway", tmp_path, environment, *options) as gateway:
        await gateway.wait_ready()
        response = await gateway.http.get("/nothing")
        gateway.process.terminate()
        await gateway.wait_exit()
    assert receiver.store.spans_of(response.headers["x-request-id"])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_receiver_that_hangs_does_not_delay_the_end(
    tmp_path: Path, nats_server: NatsServer, number: signal.Signals
) -> None:
    connected = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.set()
        await reader.read()  # until the client closes the connection
        writer.close()

    async with await asyncio.start_server(hang, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        environment = {
            "NATS_URL": nats_server.url,
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "600",  # seconds; longer than any wait of this test
        }
        async with run_service("gateway", tmp_path, environment) as gateway:
            await gateway.wait_ready()
            await gateway.http.get("/nothing")
            await connected.wait()
            gateway.process.send_signal(number)
            code = await asyncio.wait_for(gateway.process.wait(), 25)  # the SDK alone waits for 30 s
            assert code in {0, -number, 128 + number}
