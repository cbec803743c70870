"""`mkstore up` with the real services."""

import httpx
import pytest

from tests.e2e.running import Running


@pytest.mark.parametrize("name", ["gateway", "users", "payments"])
def test_every_service_says_that_it_is_ready(store: Running, name: str) -> None:
    url = store.record[name]["url"]
    for path in ("/health", "/health/live", "/health/ready"):
        assert httpx.get(url + path, timeout=10, trust_env=False).status_code == 200
