"""Live figures on the documentation site: who may see them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from apps.gateway.main import create_api
from portal.live import Snapshot
from tests.support.store import Store, client_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATH = "/asyncapi/live.json"


class EmptyMonitor:
    """A monitor of a system without streams and processes."""

    async def snapshot(self) -> Snapshot:
        return Snapshot(at=datetime.now(UTC), streams=[], processes=[])


@asynccontextmanager
async def monitored(store: Store, *, live_for_admins: bool) -> AsyncIterator[httpx.AsyncClient]:
    monitor: Any = EmptyMonitor()
    api = create_api(replace(store.app.deps, monitor=monitor, live_for_admins=live_for_admins))
    async with client_of(api) as http:
        yield http


async def test_live_figures_are_absent_unless_configured(store: Store) -> None:
    response = await store.http.get(PATH)
    assert (response.status_code, response.json()["code"]) == (404, "not-found")


async def test_live_figures_are_open_in_development(store: Store) -> None:
    async with monitored(store, live_for_admins=False) as http:
        response = await http.get(PATH)
    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-store"
    assert (response.json()["streams"], response.json()["processes"]) == ([], [])


async def test_live_figures_are_for_admins_in_production(store: Store) -> None:
    ada, admin = await store.sign_up(), await store.admin()
    async with monitored(store, live_for_admins=True) as http:
        assert (await http.get(PATH)).status_code == 401
        assert (await replace(ada, http=http).get(PATH)).status_code == 403
        assert (await replace(admin, http=http).get(PATH)).status_code == 200
