"""Whether the gateway lives and works."""

import pytest

from tests.support.store import Store

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_it_says_that_it_lives_and_works(store: Store) -> None:
    for path in ("/health", "/health/ready"):
        answer = await store.http.get(path)
        assert (answer.status_code, answer.json()["status"]) == (200, "ok")
        assert {name: check["status"] for name, check in answer.json()["checks"].items()} == {
            "nats": "ok",
            "nats-sync": "warning",  # nobody told this one where it could ask
            "nats-clock": "ok",
        }
    alive = await store.http.get("/health/live")
    assert (alive.status_code, alive.json()) == (200, {"status": "ok", "checks": {}})
