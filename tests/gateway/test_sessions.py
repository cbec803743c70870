"""Sessions over HTTP: sign-in, refresh, sign-out, and what is refused."""

from uuid import uuid4

import pytest
from httpx import Response

from tests.support.polling import eventually
from tests.support.store import SignedInUser, Store
from tests.support.users_harness import PASSWORD, new_email

pytestmark = pytest.mark.asyncio(loop_scope="module")

MEMBERS = {"id", "userId", "device", "address", "createdAt", "lastUsedAt"}
TOKENS = {"accessToken", "expiresIn", "refreshToken"}


async def sign_in(store: Store, user: SignedInUser, **headers: str) -> Response:
    credentials = {"email": user.user["email"], "password": PASSWORD}
    return await store.http.post("/auth/sessions", json=credentials, headers=headers)


async def refresh(store: Store, token: str) -> Response:
    return await store.http.post("/auth/sessions/refresh", json={"refreshToken": token})


def with_token(store: Store, user: SignedInUser, response: Response) -> SignedInUser:
    return SignedInUser(store.http, user.user, response.json()["accessToken"])


async def test_sign_in_returns_a_session_with_tokens(store: Store) -> None:
    ada = await store.sign_up()
    response = await sign_in(store, ada, **{"User-Agent": "x" * 300})
    assert response.status_code == 201
    session = response.json()
    assert session.keys() == MEMBERS | TOKENS
    assert response.headers["location"] == f"/auth/sessions/{session['id']}"
    assert response.headers["cache-control"] == "no-store"
    assert (session["userId"], session["device"], session["expiresIn"]) == (ada.id, "x" * 256, 900)
    assert (await with_token(store, ada, response).get("/users/me")).json()["id"] == ada.id


async def test_refresh_returns_new_tokens_that_work(store: Store) -> None:
    ada = await store.sign_up()
    first = await sign_in(store, ada)
    second = await refresh(store, first.json()["refreshToken"])
    assert (second.status_code, second.headers["cache-control"]) == (200, "no-store")
    assert second.json()["id"] == first.json()["id"]
    assert second.json()["refreshToken"] != first.json()["refreshToken"]
    assert (await with_token(store, ada, second).get("/users/me")).status_code == 200


async def test_unknown_wrong_and_disabled_get_one_response(store: Store) -> None:
    ada, bob, admin = await store.sign_up(), await store.sign_up(), await store.admin()
    await admin.request("PATCH", f"/users/{bob.id}", json={"disabled": True})
    responses = [
        await store.http.post("/auth/sessions", json={"email": email, "password": password})
        for email, password in (
            (ada.user["email"], "wrong"),
            (bob.user["email"], PASSWORD),
            (new_email(), PASSWORD),
            ("no email", PASSWORD),
        )
    ]
    bodies = [response.json() | {"requestId": None, "instance": None} for response in responses]
    assert {response.status_code for response in responses} == {401}
    assert bodies[0]["code"] == "invalid-credentials"
    assert all(body == bodies[0] for body in bodies)


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({}, {"/email", "/password"}),
        ({"email": "x" * 1025, "password": "x" * 1025}, {"/email", "/password"}),
        ({"email": "ada@example.com", "password": PASSWORD, "grant_type": "password"}, {"/grant_type"}),
        ({"email": "nul\0", "password": PASSWORD}, {"/email"}),
    ],
)
async def test_invalid_sign_in_names_its_fields(store: Store, body: dict[str, str], pointers: set[str]) -> None:
    response = await store.http.post("/auth/sessions", json=body)
    assert response.status_code == 422
    assert {error["pointer"] for error in response.json()["errors"]} == pointers
    assert PASSWORD not in response.text


async def test_there_is_no_password_grant(store: Store) -> None:
    form = {"grant_type": "password", "username": "ada@example.com", "password": PASSWORD}
    assert (await store.http.post("/auth/token", data=form)).status_code == 404


async def test_invalid_refresh_token_is_refused(store: Store) -> None:
    for token in ("", "x", "A" * 75):
        response = await refresh(store, token)
        assert (response.status_code, response.json()["code"]) == (401, "invalid-refresh-token")


async def test_own_sessions_are_listed_and_ended_one_by_one(store: Store) -> None:
    ada = await store.sign_up()
    other = await sign_in(store, ada)
    listed = (await ada.get("/auth/sessions")).json()["data"]
    assert [session.keys() for session in listed] == [MEMBERS, MEMBERS]
    ended = await ada.request("DELETE", f"/auth/sessions/{other.json()['id']}")
    assert ended.status_code == 204
    assert len((await ada.get("/auth/sessions")).json()["data"]) == 1

    async def is_refused() -> bool:
        return (await with_token(store, ada, other).get("/users/me")).status_code == 401

    await eventually(is_refused)
    assert (await refresh(store, other.json()["refreshToken"])).status_code == 401
    assert (await ada.request("DELETE", f"/auth/sessions/{other.json()['id']}")).status_code == 404


async def test_session_of_another_user_is_not_found(store: Store) -> None:
    ada, bob = await store.sign_up(), await store.sign_up()
    (session,) = (await ada.get("/auth/sessions")).json()["data"]
    for unknown in (session["id"], str(uuid4())):
        response = await bob.request("DELETE", f"/auth/sessions/{unknown}")
        assert (response.status_code, response.json()["code"]) == (404, "session-not-found")
    assert (await bob.request("DELETE", "/auth/sessions/nonsense")).status_code == 422
    assert (await ada.get("/users/me")).status_code == 200


async def test_current_session_is_ended_by_its_name(store: Store) -> None:
    ada = await store.sign_up()
    assert (await ada.request("DELETE", "/auth/sessions/current")).status_code == 204

    async def is_refused() -> bool:
        return (await ada.get("/users/me")).status_code == 401

    await eventually(is_refused)


async def test_other_sessions_or_all_are_ended(store: Store) -> None:
    ada = await store.sign_up()
    others = [with_token(store, ada, await sign_in(store, ada)) for _ in range(2)]
    assert (await ada.request("DELETE", "/auth/sessions?scope=others")).status_code == 204

    async def only_ada() -> bool:
        statuses = [(await each.get("/users/me")).status_code for each in (ada, *others)]
        return statuses == [200, 401, 401]

    await eventually(only_ada)
    assert (await ada.request("DELETE", "/auth/sessions")).status_code == 422
    assert (await ada.request("DELETE", "/auth/sessions?scope=some")).status_code == 422
    assert (await ada.request("DELETE", "/auth/sessions?scope=all")).status_code == 204

    async def nobody() -> bool:
        return (await ada.get("/users/me")).status_code == 401

    await eventually(nobody)


async def test_own_email_and_deletion_need_the_current_password(store: Store) -> None:
    ada = await store.sign_up()
    change = {"email": new_email()}
    for body in (change, change | {"currentPassword": "wrong"}):
        response = await ada.request("PATCH", f"/users/{ada.id}", json=body)
        assert response.status_code == 422
        assert response.json()["errors"][0]["pointer"] == "/currentPassword"
    changed = await ada.request("PATCH", f"/users/{ada.id}", json=change | {"currentPassword": PASSWORD})
    assert changed.json()["email"] == change["email"]
    assert (await ada.request("DELETE", f"/users/{ada.id}")).status_code == 422
    wrong = await ada.request("DELETE", f"/users/{ada.id}", json={"currentPassword": "wrong"})
    assert (wrong.status_code, wrong.json()["code"]) == (422, "wrong-password")
    gone = await ada.request("DELETE", f"/users/{ada.id}", json={"currentPassword": PASSWORD})
    assert gone.status_code == 204


async def test_last_admin_stays(store: Store) -> None:
    admin = await store.admin()
    users, query, has_more = [], {"limit": "100"}, True
    while has_more:  # the database is that of all tests: an admin may be on any page
        page = (await admin.get("/users", None, **query)).json()
        users += page["data"]
        has_more, query["cursor"] = page["hasMore"], page["nextCursor"]
    for user in users:
        if user["role"] == "admin" and user["id"] != admin.id:
            await admin.request("PATCH", f"/users/{user['id']}", json={"role": "user"})
    response = await admin.request("PATCH", f"/users/{admin.id}", json={"role": "user"})
    assert (response.status_code, response.json()["code"]) == (409, "last-admin")
