"""Many concurrent payments on a store with default settings."""

import asyncio

from mkstore.chaos.ledger import User
from tests.support.audited_load import AuditedLoad, audited_load
from tests.support.http_client import say
from tests.support.running_store import Running
from tests.support.stored_data import wait_until_idle


async def test_concurrent_payments_are_recorded_once_and_listed(store: Running) -> None:
    async with audited_load(store, payments=200, payers=5, loops=4, read_back=0.2) as load:
        await load.generator.finish()
        await wait_until_idle(store)
        await asyncio.gather(*(_check_list(load, payer) for payer in load.payers))
    assert load.ledger.accepted == 200
    assert len({attempt.id for attempt in load.ledger.attempts}) == 200
    assert not load.ledger.refusals
    say(str(load))


async def _check_list(load: AuditedLoad, payer: User) -> None:
    """Fail unless the payer finds exactly its payments in its list, and a sample of them by id."""
    listed: list[str] = []
    path = "/payments?limit=40"
    while True:
        page = (await load.api("GET", path, token=payer.token)).json
        listed += [payment["id"] for payment in page["data"]]
        if not page["hasMore"]:
            break
        path = f"/payments?limit=40&cursor={page['nextCursor']}"
    own = [str(attempt.id) for attempt in load.ledger.attempts if attempt.payer == payer.id]
    assert sorted(listed) == sorted(own)
    for payment in own[::10]:
        answer = await load.api("GET", f"/payments/{payment}", token=payer.token)
        assert (answer.status, answer.json["status"]) == (200, "created"), answer
