"""Health endpoints of the services."""

import httpx
import pytest

from tests.support.running_store import Running


async def test_health_names_each_dependency(http: httpx.AsyncClient) -> None:
    for path in ("/health", "/health/ready"):
        answer = await http.get(path)
        assert (answer.status_code, answer.json()["checks"]["nats"]["status"]) == (200, "ok")
    assert (await http.get("/health/live")).status_code == 200


@pytest.mark.parametrize("name", ["gateway", "users", "payments"])
def test_every_service_reports_ready(store: Running, name: str) -> None:
    url = store.record[name]["url"]
    for path in ("/health", "/health/live", "/health/ready"):
        assert httpx.get(url + path, timeout=10, trust_env=False).status_code == 200


@pytest.mark.parametrize("name", ["users", "payments"])
def test_every_stored_message_has_a_documented_subject(store: Running, name: str) -> None:
    """With the login of the service, which may ask for the subjects of its streams."""
    checks = httpx.get(f"{store.record[name]['url']}/health/ready", timeout=10, trust_env=False).json()["checks"]
    assert checks["subjects"]["status"] == "ok", checks
