"""Every worker of every service is replaced, one after the other, under load: no request fails."""

import asyncio
import contextlib
import signal
from collections import Counter
from collections.abc import AsyncIterator

import httpx
import nats
from nats.aio.client import Client

from kit.messaging.discovery import request_all
from kit.runtime.tasks import cancel_and_wait
from mkstore.chaos.ledger import User
from mkstore.chaos.store import SERVICE_NAMES
from tests.support.audited_load import audited_load
from tests.support.http_client import say
from tests.support.polling import eventually
from tests.support.running_store import Running, running

_WORKERS = 2


@contextlib.asynccontextmanager
async def _new_connections(store: Running, caller: User) -> AsyncIterator[Counter[str]]:
    """Read over a new connection each time until the end of the block; count the outcomes."""
    outcomes: Counter[str] = Counter()

    async def read() -> None:
        while True:
            try:
                async with httpx.AsyncClient(base_url=store.url, trust_env=False, timeout=15) as http:
                    response = await http.get("/users/me", headers={"Authorization": f"Bearer {caller.token}"})
                    outcomes[str(response.status_code)] += 1
            except httpx.HTTPError as error:
                outcomes[repr(error)] += 1
            await asyncio.sleep(0.02)

    reading = asyncio.create_task(read())
    try:
        yield outcomes
    finally:
        await cancel_and_wait([reading])


async def _ids(client: Client, name: str) -> set[str]:
    """Return the ids of the processes of a service that serve requests."""
    replies = await request_all(client, f"PING.{name}", timeout=5, idle_timeout=0.5)
    return {reply["id"] for reply in replies}


async def _replace_a_worker(store: Running, client: Client, name: str) -> None:
    known: set[str] = set()

    async def are_complete() -> bool:
        """Ask again until each has answered: under load the first answer may take longer than `idle_timeout`."""
        known.update(await _ids(client, name))
        return len(known) == _WORKERS

    async def has_successor() -> bool:
        ids = await _ids(client, name)
        return len(ids) == _WORKERS and bool(ids - known)

    await eventually(are_complete)
    store.send_to_worker(name, signal.SIGTERM)
    await store.wait_until_recovered()
    await eventually(has_successor)


async def test_rolling_restart_under_load_fails_no_request() -> None:
    # A lost request fails after any time; a disk that takes two seconds to sync must not fail one.
    settings = {"RATE_LIMIT_ENABLED": "false", "REQUEST_TIMEOUT": "10"}
    with running("--ephemeral", "--port", "0", "--workers", "2", env=settings) as store:
        async with (
            audited_load(store, payers=16, rate=100, read_back=1.0, probes=True, changes_users=True) as load,
            _new_connections(store, load.payers[0]) as outcomes,
            await nats.connect(store.record["nats"]["admin_url"]) as client,
        ):
            await load.wait_until_accepted(50)
            for name in SERVICE_NAMES:
                for _ in range(_WORKERS):
                    await _replace_a_worker(store, client, name)
        say(f"rolling restart: {len(load.ledger.answers)} requests, and over new connections {dict(outcomes)}")
        failed = [(ended, operation) for ended, operation, succeeded in load.ledger.answers if not succeeded]
        assert not failed, (load.ledger.refusals, failed)
        assert outcomes.keys() == {"200"}
