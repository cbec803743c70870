"""Liveness and readiness of the gateway."""

import pytest

from tests.support.store import Store

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_gateway_is_alive_and_ready(store: Store) -> None:
    for path in ("/health", "/health/ready"):
        response = await store.http.get(path)
        assert (response.status_code, response.json()["status"]) == (200, "ok")
        assert {name: check["status"] for name, check in response.json()["checks"].items()} == {
            "nats": "ok",
            "nats-sync": "warning",  # no monitoring URL is configured
            "nats-clock": "ok",
        }
    alive = await store.http.get("/health/live")
    assert (alive.status_code, alive.json()) == (200, {"status": "ok", "checks": {}})
