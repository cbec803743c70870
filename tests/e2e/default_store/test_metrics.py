"""Any worker of a service reports what all of them have counted."""

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.support.http_client import sign_up
from tests.support.running_store import Running

_REQUESTS = "mkstore_http_request_duration_seconds_count"
_READS = {"method": "GET", "route": "/users/{user_id}", "status": "200"}


async def _count(store: Running) -> float:
    """Return how many reads of a user were answered, by the metrics of the worker that replies."""
    async with httpx.AsyncClient(trust_env=False) as http:
        families = text_string_to_metric_families((await http.get(f"{store.url}/metrics")).text)
    samples = [sample for family in families for sample in family.samples]
    return sum(sample.value for sample in samples if sample.name == _REQUESTS and sample.labels == _READS)


async def test_requests_of_all_workers_are_counted(store: Running, http: httpx.AsyncClient) -> None:
    ada = await sign_up(http)
    before = await _count(store)
    for _ in range(20):
        async with httpx.AsyncClient(trust_env=False) as other:  # each connection may reach another worker
            assert (await other.get(f"{store.url}/users/{ada.id}", headers=ada.bearer)).status_code == 200
    assert {await _count(store) - before for _ in range(10)} == {20}
