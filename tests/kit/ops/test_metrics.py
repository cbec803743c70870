"""Metrics over HTTP."""

import asyncio

import httpx
from faststream.asgi import AsgiFastStream
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.parser import text_string_to_metric_families

from kit.messaging.broker import Broker
from kit.ops.metrics import Gauges, Metrics


async def works() -> Gauges:
    return [GaugeMetricFamily("mkstore_a", "The first.", 1), GaugeMetricFamily("mkstore_b", "The second.", 2.5)]


async def fails() -> Gauges:
    raise ConnectionError


async def hangs() -> Gauges:
    await asyncio.Event().wait()
    return []


async def test_gauges_that_cannot_be_read_in_time_are_left_out() -> None:
    routes = Metrics(fails, works, hangs, timeout=0.05).routes()
    app = AsgiFastStream(Broker("nats://127.0.0.1:1", name="tests"), asgi_routes=routes)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://service") as http:
        response = await http.get("/metrics")
    assert (response.status_code, response.headers["content-type"].partition(";")[0]) == (200, "text/plain")
    gauges = {family.name: family for family in text_string_to_metric_families(response.text)}
    assert [gauges[name].samples[0].value for name in ("mkstore_a", "mkstore_b")] == [1, 2.5]
    assert (gauges["mkstore_a"].type, gauges["mkstore_a"].documentation) == ("gauge", "The first.")
