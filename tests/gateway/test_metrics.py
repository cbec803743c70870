"""Metrics of the gateway: requests by route and status, throttled ones, repeated keys, and requests to services."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.memory_store import in_memory
from tests.support.store import Store, new_key

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


async def _read(store: Store) -> Samples:
    response = await store.http.get("/metrics")
    assert (response.status_code, response.headers["content-type"].partition(";")[0]) == (200, "text/plain")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


def _increase(before: Samples, after: Samples, name: str, **labels: str) -> float:
    key = (name, frozenset(labels.items()))
    return after.get(key, 0.0) - before.get(key, 0.0)


async def test_requests_are_counted_by_route_and_status() -> None:
    async with in_memory(app_env="development") as store:
        ada = await store.sign_up()
        before, key = await _read(store), new_key()
        first = await ada.paid(key)
        await ada.paid(key)
        assert (await ada.get(f"/payments/{first['id']}")).status_code == 200
        assert (await ada.get("/nothing")).status_code == 404
        assert (await store.http.request("BREW", "/users")).status_code == 405
        assert (await store.http.head("/users/me")).status_code == 401
        after = await _read(store)

    def requests(method: str, route: str, status: int) -> float:
        labels = {"method": method, "route": route, "status": str(status)}
        return _increase(before, after, "mkstore_http_request_duration_seconds_count", **labels)

    assert requests("POST", "/payments", 202) == 2
    assert requests("GET", "/payments/{payment_id}", 200) >= 1
    assert requests("GET", "none", 404) == 1
    assert requests("HEAD", "/users/me", 401) == 1
    assert _increase(before, after, "mkstore_idempotent_replays_total") == 1
    assert after["mkstore_http_requests_in_progress", frozenset({("kind", "requests")})] == 1  # the scrape
    assert not any("BREW" in value for _, labels in after for _, value in labels)
    answered = {"subject": "payments.get_many", "outcome": "ok"}
    assert _increase(before, after, "mkstore_nats_request_duration_seconds_count", **answered) >= 1
    assert _increase(before, after, "mkstore_nats_reply_duration_seconds_count", **answered) >= 1


async def test_throttled_requests_are_counted_by_limit() -> None:
    async with in_memory(app_env="development", rate_limit_enabled=True, rate_limit_sign_up="1/minute") as store:
        before = await _read(store)
        for _ in range(3):
            await store.http.post("/users", json={})
        after = await _read(store)
    assert _increase(before, after, "mkstore_throttled_requests_total", limit="sign_up") == 2


@pytest.mark.parametrize("options", [{"app_env": "production"}, {"metrics_port": 9100}])
async def test_clients_of_the_api_do_not_get_metrics(options: dict[str, object]) -> None:
    async with in_memory(**options) as store:
        response = await store.http.get("/metrics")
        assert (response.status_code, response.json()["code"]) == (404, "not-found")
