"""A whole store is stopped under load and started again."""

import asyncio

from tests.support.audited_load import audited_load
from tests.support.http_client import say
from tests.support.running_store import Running


async def test_store_stopped_under_load_loses_no_payment(unlimited_store: Running) -> None:
    """It stops with exit code 0 and leaves no process; payments with a key are retried until the next start."""
    async with audited_load(unlimited_store, rate=100) as load:
        await load.wait_until_accepted(100)
        await asyncio.to_thread(unlimited_store.stop)
        assert "is killed" not in unlimited_store.text
        assert not (unlimited_store.home / "run.json").exists()
        before = load.ledger.accepted
        unlimited_store.start()
        await asyncio.to_thread(unlimited_store.wait_until_ready)
        await load.wait_until_accepted(before + 50)
    say(f"SIGTERM under load: {load}")
