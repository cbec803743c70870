"""The caller's own events as they happen, over HTTP."""

import asyncio
import time
from typing import Any

import pytest

from apps.gateway.auth import JwksVerifier
from kit.tokens import Claims
from tests.support.polling import eventually
from tests.support.store import Caller, Store, api

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def settled(store: Store, caller: Caller, events: int = 1) -> Caller:
    """Return the caller once the gateway has read what happened to it so far."""
    async with store.events(caller, "0-0") as stream:
        await stream.until(events)
    return caller


async def listener(store: Store) -> Caller:
    return await settled(store, await store.sign_up())


async def test_a_stream_says_at_once_where_it_begins_and_when_to_come_back(store: Store) -> None:
    ada = await listener(store)
    async with store.events(ada) as stream:
        assert stream.status == 200
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert stream.headers["cache-control"] == "no-store"
        assert stream.headers["x-accel-buffering"] == "no"
        [first] = stream.blocks
        assert first["retry"] == "1000"
        assert first["id"] == str(api(store.app).state.parts.feed.position)


async def test_ones_own_events_come_and_nobody_elses(store: Store) -> None:
    ada, bob = await listener(store), await listener(store)
    async with store.events(ada) as stream, store.events(bob) as his:
        payment = await ada.paid()
        await bob.paid()
        rejected = await ada.paid(amount=10**9)
        renamed = (await ada.ask("PATCH", f"/users/{ada.id}", json={"name": "Countess"})).json()
        events = {event.type: event.data for event in await stream.until(3)}
        assert events == {
            "payment.created": {"payment": payment},
            "payment.rejected": {"payment": rejected},
            "user.updated": {"user": renamed},
        }
        assert [event.type for event in await his.until(1)] == ["payment.created"]
        assert len(stream.events) == 3


async def test_an_admin_too_gets_the_own_events_alone(store: Store) -> None:
    ada, admin = await listener(store), await settled(store, await store.admin(), 2)
    async with store.events(admin) as stream:
        await ada.paid()
        own = await admin.paid()
        assert [event.data for event in await stream.until(1)] == [{"payment": own}]


async def test_who_comes_back_goes_on_where_one_left_off(store: Store) -> None:
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


async def test_who_was_cut_off_before_the_first_event_comes_back_to_it(store: Store) -> None:
    ada = await listener(store)
    async with store.events(ada) as stream:
        pass
    payment = await ada.paid()
    async with store.events(ada, stream.last_id) as back:
        assert [event.data for event in await back.until(1)] == [{"payment": payment}]


async def test_the_whole_past_that_is_kept_can_be_asked_for(store: Store) -> None:
    ada = await store.sign_up()
    payment = await ada.paid()
    async with store.events(ada, "0-0") as stream:
        assert [event.type for event in await stream.until(2)] == ["user.created", "payment.created"]
        assert stream.events[0].data["user"]["id"] == ada.id
        assert stream.events[1].data == {"payment": payment}


@pytest.mark.parametrize("last_id", ["x", "1", "1-2-3", "-1-2", "x" * 51])
async def test_what_is_no_place_is_pointed_to(store: Store, last_id: str) -> None:
    ada = await store.somebody()
    answer = await ada.get("/events", {"Last-Event-ID": last_id})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid-request")
    assert [error["pointer"] for error in answer.json()["errors"]] == ["/header/last-event-id"]


async def test_a_stream_ends_with_the_token(store: Store) -> None:
    ada = await store.sign_up()
    keys: JwksVerifier = api(store.app).state.parts.keys
    claims = (await keys.claims(ada.token)).model_copy(update={"exp": int(time.time()) + 1})

    class Ending:
        async def claims(self, token: str) -> Claims:
            return claims if token == "ending" else await keys.claims(token)

    parts = api(store.app).state.parts
    api(store.app).state.parts = type(parts)(**{**vars(parts), "keys": Ending()})
    try:
        async with store.events(Caller(ada.http, ada.user, "ending")) as stream:
            await stream.end()
    finally:
        api(store.app).state.parts = parts


async def test_who_is_deleted_or_disabled_hears_so_and_no_more(store: Store) -> None:
    ada, bob, admin = await listener(store), await listener(store), await store.admin()
    async with store.events(ada) as hers, store.events(bob) as his, store.events(admin) as staying:
        await admin.ask("PATCH", f"/users/{bob.id}", json={"disabled": True})
        await ada.ask("DELETE", f"/users/{ada.id}")
        await asyncio.gather(hers.end(), his.end())
        assert [event.type for event in hers.events] == ["user.deleted"]
        assert [event.data["user"]["disabled"] for event in his.events] == [True]
        assert not staying.ended
        async with store.events(ada) as again:
            assert again.status == 401


async def test_nothing_is_kept_of_who_has_left(store: Store) -> None:
    ada = await store.sign_up()
    feed: Any = api(store.app).state.parts.feed
    async with store.events(ada), store.events(ada):
        await eventually(lambda: len(feed._clients) == 1)
    await eventually(lambda: not feed._clients)


async def test_everybody_is_let_go_when_the_process_is_told_to_end(store: Store) -> None:
    ada = await store.sign_up()
    feed: Any = api(store.app).state.parts.feed
    async with store.events(ada) as stream:
        feed.close()
        await stream.end()
    feed._closed = False
