"""One of two workers of a service restarts under load."""

import asyncio
import os
import signal
from collections import Counter

import pytest

from tests.support.http_client import calling, say, sign_up
from tests.support.payment_load import PaymentLoad
from tests.support.polling import eventually
from tests.support.running_store import Running
from tests.support.store_audit import audit_payments


@pytest.mark.parametrize("name", ["payments", "users"])
async def test_restart_of_one_worker_under_load_fails_no_request(two_worker_store: Running, name: str) -> None:
    async with calling(two_worker_store) as http:
        load = await PaymentLoad.create(http, 8, 400, read_every=1)
        ada = await sign_up(http)
        paying = asyncio.create_task(load.run())
        await load.wait_until_accepted(100)
        before = two_worker_store.record[name]["pids"]
        os.kill(before[0], signal.SIGTERM)
        statuses: Counter[int] = Counter()

        async def is_restarted() -> bool:
            statuses[(await ada("GET", "/users/me")).status_code] += 1
            now = two_worker_store.record[name]["pids"]
            return len(now) == len(before) and now != before

        await eventually(is_restarted)
        await paying
        figures = await audit_payments(two_worker_store, load)
    say(f"SIGTERM one of two {name} workers: {figures}; GET /users/me meanwhile: {dict(statuses)}")
    assert not load.refusals
    assert statuses.keys() == {200}
