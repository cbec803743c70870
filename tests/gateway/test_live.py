"""Who may see the live figures of the portal."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from portal.live import Snapshot
from tests.support.store import Store, api

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATH = "/asyncapi/live.json"


class Still:
    """A monitor of an idle system."""

    async def look(self) -> Snapshot:
        return Snapshot(at=datetime.now(UTC), streams=[], processes=[])


@contextmanager
def watched(store: Store, *, is_open: bool) -> Iterator[None]:
    state: Any = api(store.app).state
    before = state.deps
    state.deps = replace(before, watch=Still(), watch_is_open=is_open)
    try:
        yield
    finally:
        state.deps = before


async def test_live_figures_are_absent_unless_configured(store: Store) -> None:
    response = await store.http.get(PATH)
    assert (response.status_code, response.json()["code"]) == (404, "not-found")


async def test_live_figures_are_open_in_development(store: Store) -> None:
    with watched(store, is_open=True):
        response = await store.http.get(PATH)
    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-store"
    assert (response.json()["streams"], response.json()["processes"]) == ([], [])


async def test_live_figures_are_for_admins_in_production(store: Store) -> None:
    ada, admin = await store.sign_up(), await store.admin()
    with watched(store, is_open=False):
        assert (await store.http.get(PATH)).status_code == 401
        assert (await ada.get(PATH)).status_code == 403
        assert (await admin.get(PATH)).status_code == 200
