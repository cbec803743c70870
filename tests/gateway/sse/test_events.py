"""The caller's own events as they happen, over HTTP."""

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import replace
from uuid import UUID

import pytest

from apps.gateway.auth import TokenVerifier
from apps.gateway.events import owner_of
from apps.gateway.main import create_api
from apps.gateway.sse.broadcaster import Broadcaster
from kit.tokens import Claims
from mkstore.testing.event_stream import open_event_stream
from mkstore.testing.fakes.history import FakeHistory
from tests.support.polling import eventually
from tests.support.store import SignedInUser, Store
from tests.support.users_harness import CONFIRMED

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def settled(store: Store, caller: SignedInUser, events: int = 1) -> SignedInUser:
    """Return the caller once the gateway has read its `events` events."""
    async with store.events(caller, "0-0") as stream:
        await stream.until(events)
    return caller


async def listener(store: Store) -> SignedInUser:
    return await settled(store, await store.sign_up())


async def test_stream_begins_with_position_and_retry(store: Store) -> None:
    ada = await listener(store)
    async with store.events(ada) as stream:
        assert stream.status == 200
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert stream.headers["cache-control"] == "no-store"
        assert stream.headers["x-accel-buffering"] == "no"
        [first] = stream.blocks
        assert first["retry"] == "1000"
        assert first["id"] == str(store.app.deps.broadcaster.position)


async def test_stream_has_the_callers_events_only(store: Store) -> None:
    ada, bob = await listener(store), await listener(store)
    async with store.events(ada) as stream, store.events(bob) as his:
        payment = await ada.paid()
        await bob.paid()
        rejected = await ada.paid(amount=10**9)
        renamed = (await ada.request("PATCH", f"/users/{ada.id}", json={"name": "Countess"})).json()
        events = {event.type: event.data for event in await stream.until(3)}
        assert events == {
            "payment.created": {"payment": payment},
            "payment.rejected": {"payment": rejected},
            "user.updated": {"user": renamed},
        }
        assert [event.type for event in await his.until(1)] == ["payment.created"]
        assert len(stream.events) == 3


async def test_admin_gets_own_events_only(store: Store) -> None:
    ada, admin = await listener(store), await settled(store, await store.admin(), 2)
    async with store.events(admin) as stream:
        await ada.paid()
        own = await admin.paid()
        assert [event.data for event in await stream.until(1)] == [{"payment": own}]


async def test_last_event_id_resumes_without_a_gap(store: Store) -> None:
    ada = await listener(store)
    async with store.events(ada) as stream:
        before = [(await ada.paid(amount=amount))["id"] for amount in (1, 2)]
        await stream.until(2)
    meanwhile = [(await ada.paid(amount=amount))["id"] for amount in (3, 4)]
    async with store.events(ada, stream.last_id) as back:
        await back.until(2)
        after = (await ada.paid(amount=5))["id"]
        events = [*stream.events, *await back.until(3)]
        assert [event.data["payment"]["id"] for event in events] == [*before, *meanwhile, after]
        assert len({event.id for event in events}) == 5


async def test_client_without_an_event_resumes_from_the_first_id(store: Store) -> None:
    ada = await listener(store)
    async with store.events(ada) as stream:
        pass
    payment = await ada.paid()
    async with store.events(ada, stream.last_id) as back:
        assert [event.data for event in await back.until(1)] == [{"payment": payment}]


async def test_position_zero_returns_all_stored_events(store: Store) -> None:
    ada = await store.sign_up()
    payment = await ada.paid()
    async with store.events(ada, "0-0") as stream:
        assert [event.type for event in await stream.until(2)] == ["user.created", "payment.created"]
        assert stream.events[0].data["user"]["id"] == ada.id
        assert stream.events[1].data == {"payment": payment}


@pytest.mark.parametrize("last_id", ["x", "1", "1-2-3", "-1-2", "x" * 51])
async def test_invalid_last_event_id_is_refused(store: Store, last_id: str) -> None:
    ada = await store.somebody()
    response = await ada.get("/events", {"Last-Event-ID": last_id})
    assert (response.status_code, response.json()["code"]) == (422, "invalid-request")
    assert [error["pointer"] for error in response.json()["errors"]] == ["/header/last-event-id"]


async def test_stream_ends_when_the_token_expires(store: Store) -> None:
    ada = await store.sign_up()
    claims = (await store.app.deps.verifier.claims(ada.token)).model_copy(update={"exp": int(time.time()) + 1})

    class ShortLived(TokenVerifier):
        async def claims(self, token: str) -> Claims:
            return claims

    deps = store.app.deps
    verifier = ShortLived(deps.public_keys, deps.revocations)
    async with open_event_stream(create_api(replace(deps, verifier=verifier)), ada.token) as stream:
        await stream.end()


async def test_deletion_and_disabling_end_the_users_streams(store: Store) -> None:
    ada, bob, admin = await listener(store), await listener(store), await store.admin()
    async with store.events(ada) as hers, store.events(bob) as his, store.events(admin) as staying:
        await admin.request("PATCH", f"/users/{bob.id}", json={"disabled": True})
        await ada.request("DELETE", f"/users/{ada.id}", json=CONFIRMED)
        await asyncio.gather(hers.end(), his.end())
        assert {event.type for event in hers.events} <= {"user.deleted"}  # the session may end before its last event
        assert {event.type for event in his.events} <= {"user.updated"}
        assert not staying.ended
        async with store.events(ada) as again:
            assert again.status == 401


async def test_eleventh_stream_of_a_caller_is_refused(store: Store) -> None:
    ada, bob = await listener(store), await listener(store)
    async with AsyncExitStack() as streams:
        for _ in range(10):
            stream = await streams.enter_async_context(store.events(ada))
            assert stream.status == 200
        response = await ada.get("/events")
        assert (response.status_code, response.json()["code"]) == (429, "too-many-event-streams")
        async with store.events(bob) as other:
            assert other.status == 200
    async with store.events(ada) as again:
        assert again.status == 200


async def test_ended_streams_leave_nothing(store: Store) -> None:
    ada = await store.sign_up()
    broadcaster = store.app.deps.broadcaster
    async with store.events(ada), store.events(ada):
        await eventually(lambda: broadcaster.open_streams.get(UUID(ada.id)) == 2)
    await eventually(lambda: UUID(ada.id) not in broadcaster.open_streams)


async def test_shutdown_ends_all_streams(store: Store) -> None:
    ada = await store.sign_up()
    broadcaster = Broadcaster(FakeHistory(), owner_of)
    await broadcaster.start()
    async with open_event_stream(create_api(replace(store.app.deps, broadcaster=broadcaster)), ada.token) as stream:
        broadcaster.close()
        await stream.end()
