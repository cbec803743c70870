"""Services as an operator runs them: processes under `faststream run`, and a client of their NATS server."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from faststream.asgi import AsgiFastStream
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from kit.messaging.broker import Broker
from mkstore.stack import ports
from tests.conftest import ROOT
from tests.support.logged_secrets import logged_secrets
from tests.support.polling import eventually


class ServiceProcess:
    """A service under `faststream run`."""

    def __init__(self, process: asyncio.subprocess.Process, http: httpx.AsyncClient, output: Path) -> None:
        self.process = process
        self.http = http
        self._output = output

    @property
    def text(self) -> str:
        """Its output so far."""
        return self._output.read_text()

    async def wait_for_log(self, text: str) -> None:
        await eventually(lambda: text in self.text, describe=lambda: self.text)

    async def health(self) -> dict[str, Any]:
        """Return the report of `/health`; empty while the port is closed."""
        try:
            response = await self.http.get("/health")
        except httpx.TransportError:
            return {}
        return dict(response.json())

    async def metrics(self) -> dict[str, float]:
        """Return the gauges of `/metrics` by name, without labels."""
        return {sample.name: sample.value for sample in await self._samples()}

    async def wait_for_metrics(self, expected: Mapping[str, float], *, workers: int) -> None:
        """Wait until each of the workers has reported these gauges; each response comes from any of them."""
        reported: set[str] = set()

        async def all_reported() -> bool:
            samples = await self._samples()
            if expected.items() <= {sample.name: sample.value for sample in samples}.items():
                reported.update(sample.labels["pid"] for sample in samples if "pid" in sample.labels)
            return len(reported) == workers

        await eventually(all_reported, describe=lambda: f"{reported} of {workers} workers reported {expected}")

    async def _samples(self) -> list[Sample]:
        response = await self.http.get("/metrics")
        assert (response.status_code, response.headers["content-type"].split(";")[0]) == (200, "text/plain")
        return [sample for family in text_string_to_metric_families(response.text) for sample in family.samples]

    async def wait_ready(self) -> None:
        async def ready() -> bool:
            return (await self.health()).get("status") == "ok"

        await eventually(ready, describe=lambda: self.text)

    async def wait_exit(self) -> int:
        """Wait for the process to exit and return its exit code."""
        return await asyncio.wait_for(self.process.wait(), 60)

    async def kill(self) -> None:
        self.process.kill()
        await self.process.wait()


@asynccontextmanager
async def run_service(
    service: str, folder: Path, environment: Mapping[str, str], *options: str, root: Path = ROOT
) -> AsyncIterator[ServiceProcess]:
    """Run a service, whose code is below `root`, until the end of the block."""
    port = ports.free_port()
    output = folder / f"{service}-{port}.log"
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    with output.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "faststream", "run", f"apps.{service}.main:app"),
            *("--host", "127.0.0.1", "--port", str(port), *options),
            env={**inherited, "PYTHONPATH": str(root), **environment},
            cwd=root,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=file,
            stderr=asyncio.subprocess.STDOUT,
        )
    # One client: a new one for each poll would load the certificates of the machine each time. No connection is kept,
    # so that the workers of a service take turns.
    limits = httpx.Limits(max_keepalive_connections=0)
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30, limits=limits) as http:
            yield ServiceProcess(process, http, output)
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), 60)
            except TimeoutError:
                process.kill()
                await process.wait()
    secrets = logged_secrets(output.read_text())
    assert not secrets, "\n".join(secrets)


def broker_of(app: AsgiFastStream) -> Broker:
    """Return the broker that an app runs on."""
    assert isinstance(app.broker, Broker)
    return app.broker


@asynccontextmanager
async def connect(nats_url: str) -> AsyncIterator[Broker]:
    """Connect a client that sends requests."""
    broker = Broker(nats_url, name="a test")
    await broker.connect()
    try:
        yield broker
    finally:
        await broker.stop()
