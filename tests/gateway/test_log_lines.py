"""Every line that a gateway process writes has one format, those of uvicorn included."""

import json
from pathlib import Path

import pytest

from mkstore.stack.servers import NatsServer
from tests.support.service_processes import run_service


@pytest.mark.parametrize("options", [(), ("--workers", "2")])
async def test_every_line_is_json_with_a_time(
    tmp_path: Path, nats_server: NatsServer, options: tuple[str, ...]
) -> None:
    environment = {"NATS_URL": nats_server.url, "LOG_FORMAT": "json"}
    async with run_service("gateway", tmp_path, environment, *options) as gateway:
        await gateway.wait_ready()
        await gateway.http.get("/nothing?secret=1")
        await gateway.wait_for_log('"path": "/nothing"')
        gateway.process.terminate()
        await gateway.wait_exit()
        lines = [json.loads(line) for line in gateway.text.splitlines()]
        assert "secret" not in gateway.text
    assert all(line["timestamp"].endswith("Z") and line["logger"] for line in lines)
    assert any(line["logger"].startswith("uvicorn") for line in lines)
