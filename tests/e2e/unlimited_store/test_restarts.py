"""One service restarts under load."""

import asyncio
import os
import signal

import pytest

from tests.support.http_client import calling, say
from tests.support.payment_load import PaymentLoad
from tests.support.recovery import wait_until_replaced
from tests.support.running_store import Running
from tests.support.store_audit import audit_payments


@pytest.mark.parametrize("name", ["payments", "users"])
async def test_service_restarted_under_load_loses_no_payment(unlimited_store: Running, name: str) -> None:
    async with calling(unlimited_store) as http:
        load = await PaymentLoad.create(http, 8, 400)
        paying = asyncio.create_task(load.run())
        await load.wait_until_accepted(100)
        pid = unlimited_store.record[name]["pid"]
        os.kill(pid, signal.SIGTERM)
        await wait_until_replaced(unlimited_store, name, pid)
        await paying
        figures = await audit_payments(unlimited_store, load)
    assert f"{name} did not stop" not in unlimited_store.text
    say(f"SIGTERM {name}: {figures}")
    if name == "users":
        assert not load.refusals, "payments do not need the users service"
    if name == "payments":
        assert set(load.refusals) <= {"503 service-unavailable"}, "only reads are refused, and at once"
