"""What goes on now, for the map: who may see it, and that it is not there where nobody asked for it."""

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
    """A watch that sees nothing going on."""

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


async def test_where_it_is_not_wanted_it_is_not_there(store: Store) -> None:
    answer = await store.http.get(PATH)
    assert (answer.status_code, answer.json()["code"]) == (404, "not-found")


async def test_in_development_everybody_sees_it(store: Store) -> None:
    with watched(store, is_open=True):
        answer = await store.http.get(PATH)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert (answer.json()["streams"], answer.json()["processes"]) == ([], [])


async def test_in_production_an_admin_sees_it_and_nobody_else(store: Store) -> None:
    ada, admin = await store.sign_up(), await store.admin()
    with watched(store, is_open=False):
        assert (await store.http.get(PATH)).status_code == 401
        assert (await ada.get(PATH)).status_code == 403
        assert (await admin.get(PATH)).status_code == 200
