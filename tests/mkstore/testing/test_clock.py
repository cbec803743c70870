"""What follows the clock of a store in memory."""

from datetime import UTC, datetime, timedelta

import httpx
import pytest
from jose import jwt

from contracts.keys import KeyRotated, RotateKey
from contracts.payments import PaymentCreated
from contracts.streams import PAYMENT_EVENTS, REVOCATIONS
from mkstore.testing import PASSWORD, MemoryStore, MovableClock, in_memory, new_email
from mkstore.testing.polling import eventually


async def test_access_token_expires(store: MemoryStore) -> None:
    ada = await store.sign_up()
    store.clock.advance(minutes=14)
    assert (await ada.get("/users/me")).status_code == 200
    store.clock.advance(minutes=2)
    assert (await ada.get("/users/me")).status_code == 401
    token = await store.token(ada.user["email"])
    again = await store.http.get("/users/me", headers={"Authorization": f"Bearer {token}"})
    assert again.json()["id"] == ada.id


async def test_idle_session_ends(store: MemoryStore) -> None:
    email = (await store.sign_up()).user["email"]
    session = (await store.http.post("/auth/sessions", json={"email": email, "password": PASSWORD})).json()
    store.clock.advance(days=29)
    refreshed = await store.http.post("/auth/sessions/refresh", json={"refreshToken": session["refreshToken"]})
    assert refreshed.status_code == 200
    store.clock.advance(days=31)
    late = await store.http.post("/auth/sessions/refresh", json={"refreshToken": refreshed.json()["refreshToken"]})
    assert late.status_code == 401


async def test_rate_limit_begins_anew() -> None:
    async with in_memory(settings={"gateway": {"rate_limit_sign_up": "2/minute"}}) as store:
        statuses = [(await sign_up(store)).status_code for _ in range(3)]
        assert statuses == [201, 201, 429]
        store.clock.advance(minutes=2)
        assert (await sign_up(store)).status_code == 201


async def test_delay_after_wrong_passwords_passes() -> None:
    async with in_memory(settings={"gateway": {"rate_limit_account": "1/day"}}) as store:
        email = (await store.sign_up()).user["email"]
        wrong = {"email": email, "password": "not the password"}
        answers = [await store.http.post("/auth/sessions", json=wrong) for _ in range(2)]
        assert answers[0].status_code == 401
        refused = await store.http.post("/auth/sessions", json={"email": email, "password": PASSWORD})
        assert refused.status_code == 429
        store.clock.advance(seconds=int(refused.headers["Retry-After"]) + 1)
        assert await store.token(email)


async def test_new_signing_key_signs_once_gateways_know_it(store: MemoryStore) -> None:
    email = (await store.sign_up()).user["email"]
    first = key_of(await store.token(email))
    rotated = await store.request(RotateKey())
    assert key_of(await store.token(email)) == first

    async def signs() -> bool:
        return key_of(await store.token(email)) == rotated.kid

    store.clock.advance(minutes=6)
    await eventually(signs)
    token = await store.token(email)
    assert (await store.http.get("/users/me", headers={"Authorization": f"Bearer {token}"})).status_code == 200
    assert [each.kid for each in await store.published(KeyRotated)] == [rotated.kid]


async def test_key_of_a_sign_up_is_forgotten_after_a_day(store: MemoryStore) -> None:
    body = {"email": new_email(), "password": PASSWORD}
    first = await sign_up(store, body, "a key")
    store.clock.advance(hours=23)
    assert (await sign_up(store, body, "a key")).json()["id"] == first.json()["id"]
    store.clock.advance(hours=2)
    assert (await sign_up(store, body, "a key")).status_code == 409


async def test_times_of_payments_and_events_are_those_of_the_clock(store: MemoryStore) -> None:
    store.clock.advance(days=400)
    payment = await (await store.sign_up()).paid()
    [created] = await store.published(PaymentCreated)
    [stored] = store.streams.messages(PAYMENT_EVENTS)
    times = [payment["createdAt"], created.payment.created_at.isoformat(), stored.headers["ce-time"]]
    assert all(datetime.fromisoformat(time) > datetime.now(UTC) + timedelta(days=399) for time in times)


async def test_stored_messages_become_too_old(store: MemoryStore) -> None:
    ada = await store.sign_up()
    await ada.request("DELETE", "/auth/sessions/current")
    await store.settled()
    assert len(store.streams.messages(REVOCATIONS)) == 1
    store.clock.advance(hours=1)
    assert store.streams.messages(REVOCATIONS) == []


async def test_session_that_was_ended_stays_ended_later(store: MemoryStore) -> None:
    ada = await store.sign_up()
    await ada.request("DELETE", "/auth/sessions/current")
    await store.settled()
    store.clock.advance(minutes=10)
    assert (await ada.get("/users/me")).status_code == 401


def test_clock_cannot_go_back() -> None:
    clock = MovableClock()
    clock.advance(timedelta(minutes=1), seconds=30)
    with pytest.raises(ValueError, match="go back"):
        clock.advance(minutes=-1)


async def sign_up(store: MemoryStore, body: dict[str, str] | None = None, key: str = "") -> httpx.Response:
    headers = {"Idempotency-Key": key} if key else {}
    return await store.http.post("/users", json=body or {"email": new_email(), "password": PASSWORD}, headers=headers)


def key_of(token: str) -> str:
    """Return the id of the key that has signed a token."""
    return str(jwt.get_unverified_header(token)["kid"])
