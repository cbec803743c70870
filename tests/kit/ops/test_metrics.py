"""Metrics: read when they are asked for, and never a reason to wait."""

import asyncio
import time

import httpx
import pytest
from faststream.asgi import AsgiFastStream
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.parser import text_string_to_metric_families

from kit.messaging.broker import Broker
from kit.ops import metrics
from kit.ops.metrics import Gauges, Metrics


async def works() -> Gauges:
    return [GaugeMetricFamily("mkstore_a", "The first.", 1), GaugeMetricFamily("mkstore_b", "The second.", 2.5)]


async def fails() -> Gauges:
    raise ConnectionError


async def hangs() -> Gauges:
    await asyncio.sleep(60)
    return []


async def test_what_cannot_be_read_in_time_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "_DEADLINE", 0.2)
    routes = Metrics(fails, works, hangs).routes()
    app = AsgiFastStream(Broker("nats://127.0.0.1:1", name="tests"), asgi_routes=routes)
    began = time.monotonic()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://service") as http:
        answer = await http.get("/metrics")
    assert time.monotonic() - began < 1
    assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (200, "text/plain")
    found = {family.name: family for family in text_string_to_metric_families(answer.text)}
    assert {name: family.samples[0].value for name, family in found.items()} == {"mkstore_a": 1, "mkstore_b": 2.5}
    assert (found["mkstore_a"].type, found["mkstore_a"].documentation) == ("gauge", "The first.")
