"""The event stream (server-sent events) of a signed-in user."""

import httpx

from tests.support.event_source import listening
from tests.support.http_client import PASSWORD, assert_problem, sign_up
from tests.support.polling import eventually


async def test_stream_has_only_the_events_of_its_user(http: httpx.AsyncClient) -> None:
    ada, eve = await sign_up(http), await sign_up(http)
    async with listening(ada) as source:
        await eve.paid()
        payment = await ada.paid()
        await ada("PATCH", f"/users/{ada.id}", json={"name": "Ada"})
        await eventually(lambda: len(source.events) >= 2, describe=lambda: str(source.events))
    assert [event.type for event in source.events] == ["payment.created", "user.updated"]
    assert source.events[0].data["payment"] == payment
    assert source.events[1].data["user"]["name"] == "Ada"


async def test_stream_resumes_after_the_last_event_id(http: httpx.AsyncClient) -> None:
    ada = await sign_up(http)
    async with listening(ada) as source:
        ids = [(await ada.paid())["id"] for _ in range(2)]
        await eventually(lambda: source.payments() == ids, describe=lambda: str(source.events))
    ids += [(await ada.paid())["id"] for _ in range(3)]  # while no stream is open
    async with listening(ada, last_id=source.last_id) as later:
        ids += [(await ada.paid())["id"] for _ in range(2)]
        await eventually(lambda: later.payments() == ids[2:], describe=lambda: str(later.events))
    async with listening(ada, last_id=source.events[0].id) as from_the_first:
        await eventually(lambda: from_the_first.payments() == ids[1:], describe=lambda: str(from_the_first.events))


async def test_malformed_last_event_id_is_refused(http: httpx.AsyncClient) -> None:
    ada = await sign_up(http)
    for malformed in ("x", "1", "1-", "-1", "1-2-3", "1-x", "²-³", "9" * 51):
        assert_problem(await ada("GET", "/events", headers={"Last-Event-ID": malformed}), 422)
    assert_problem(await http.get("/events"), 401)


async def test_stream_ends_when_its_user_is_deleted(http: httpx.AsyncClient) -> None:
    ada = await sign_up(http)
    async with listening(ada) as source:
        await ada("DELETE", f"/users/{ada.id}", json={"currentPassword": PASSWORD})
        await eventually(lambda: source.endings == ["ended"], describe=lambda: str(source.endings))
    assert {event.type for event in source.events} <= {"user.deleted"}  # the session may end before its last event
