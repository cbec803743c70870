"""One service restarts under load."""

import signal

import pytest

from tests.support.audited_load import audited_load
from tests.support.http_client import say
from tests.support.running_store import Running


@pytest.mark.parametrize("name", ["payments", "users"])
async def test_service_restarted_under_load_loses_no_payment(unlimited_store: Running, name: str) -> None:
    async with audited_load(unlimited_store, payments=200) as load:
        await load.wait_until_accepted(50)
        unlimited_store.send(name, signal.SIGTERM)
        await unlimited_store.wait_until_recovered()
    assert f"{name} did not stop" not in unlimited_store.text
    say(f"SIGTERM {name}: {load}")
    if name == "users":
        assert not load.ledger.refusals, "payments do not need the users service"
    if name == "payments":
        assert set(load.ledger.refusals) <= {"503 service-unavailable"}, "only reads are refused, and at once"
