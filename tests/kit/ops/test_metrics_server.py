"""`/metrics` at a port of the operator's."""

from typing import Literal

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from kit.errors import CannotStart
from kit.ops.metrics import Metrics
from kit.ops.metrics_server import MetricsServer
from kit.runtime.measurements import Level, sum_of_processes
from kit.runtime.settings import Settings
from mkstore.stack import ports

TAKEN = sum_of_processes("tests_places_taken", "Places that are taken.")


def _samples(text: str) -> dict[str, float]:
    return {sample.name: sample.value for family in text_string_to_metric_families(text) for sample in family.samples}


async def test_metrics_have_a_port_apart_from_the_service() -> None:
    port = ports.free_port()
    server = MetricsServer(Metrics(levels=[Level(TAKEN, lambda: 3)]), Settings(metrics_port=port))
    await server.start()
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
            response = await http.get("/metrics")
            assert (response.status_code, response.headers["content-type"].partition(";")[0]) == (200, "text/plain")
            assert _samples(response.text)["tests_places_taken"] == 3
            assert (await http.get("/health")).status_code == 404
    finally:
        await server.stop()
    async with httpx.AsyncClient() as http:
        with pytest.raises(httpx.ConnectError):
            await http.get(f"http://127.0.0.1:{port}/metrics")


async def test_workers_share_the_port() -> None:
    settings = Settings(metrics_port=ports.free_port())
    workers = [MetricsServer(Metrics(), settings) for _ in range(2)]
    for worker in workers:
        await worker.start()
    for worker in workers:
        await worker.stop()


async def test_address_that_cannot_be_used_is_named() -> None:
    server = MetricsServer(Metrics(), Settings(metrics_host="203.0.113.1", metrics_port=9100))
    with pytest.raises(CannotStart, match=r"METRICS_HOST and METRICS_PORT name 203\.0\.113\.1:9100, where"):
        await server.start()
    await server.stop()


@pytest.mark.parametrize(
    ("app_env", "port", "paths"),
    [("development", 0, ["/metrics"]), ("development", 9100, []), ("production", 0, []), ("production", 9100, [])],
)
def test_service_has_metrics_at_its_own_port_in_development_only(
    app_env: Literal["development", "production"], port: int, paths: list[str]
) -> None:
    settings = Settings(app_env=app_env, metrics_port=port, nats_url="nats://users:a-long-password@nats:4222")
    assert [path for path, _ in MetricsServer(Metrics(), settings).routes] == paths


async def test_without_a_port_nothing_listens() -> None:
    server = MetricsServer(Metrics(levels=[Level(TAKEN, lambda: 4)]), Settings())
    await server.start()
    await server.stop()
