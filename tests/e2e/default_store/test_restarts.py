"""One of two workers of a service restarts under load."""

import signal

import pytest

from tests.support.audited_load import audited_load
from tests.support.http_client import say
from tests.support.running_store import Running


@pytest.mark.parametrize("name", ["payments", "users"])
async def test_restart_of_one_worker_under_load_fails_no_request(store: Running, name: str) -> None:
    async with audited_load(store, rate=25, read_back=1.0, probes=True) as load:
        await load.wait_until_accepted(20)
        store.send_to_worker(name, signal.SIGTERM)
        await store.wait_until_recovered()
    say(f"SIGTERM one of two {name} workers: {load}")
    assert not load.ledger.refusals
