"""Users over HTTP."""

from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from tests.support.polling import eventually
from tests.support.store import SignedInUser, Store, new_key
from tests.support.users_harness import CONFIRMED, PASSWORD, new_email

pytestmark = pytest.mark.asyncio(loop_scope="module")

NEW = "staple of another colour"


def problem(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


async def test_sign_up_returns_user_and_location(store: Store) -> None:
    email = new_email()
    response = await store.http.post("/users", json={"email": email.upper(), "password": PASSWORD, "name": "Ada"})
    assert response.status_code == 201
    user = response.json()
    assert response.headers["location"] == f"/users/{user['id']}"
    assert response.headers["etag"] == '"1"'
    assert user == {
        "id": user["id"],
        "email": email,
        "name": "Ada",
        "role": "user",
        "disabled": False,
        "version": 1,
        "createdAt": user["createdAt"],
        "updatedAt": user["createdAt"],
    }
    assert user["createdAt"].endswith("Z")
    assert user["id"][14] == "7"


async def test_name_is_optional(store: Store) -> None:
    assert (await store.sign_up()).user["name"] is None


async def test_taken_email_is_a_conflict(store: Store) -> None:
    ada = await store.sign_up()
    again = {"email": ada.user["email"].upper(), "password": PASSWORD}
    assert problem(await store.http.post("/users", json=again)) == (409, "email-taken")


async def test_repeated_sign_up_gets_the_first_response_again(store: Store) -> None:
    body = {"email": new_email(), "password": PASSWORD, "name": "Ada"}
    headers = {"Idempotency-Key": new_key()}
    first, again = [await store.http.post("/users", json=body, headers=headers) for _ in range(2)]
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.content == first.content
    assert "replayed" not in first.json()
    assert [response.headers.get("idempotent-replayed") for response in (first, again)] == [None, "true"]
    for header in ("location", "etag"):
        assert again.headers[header] == first.headers[header]
    other = await store.http.post("/users", json=body | {"password": NEW}, headers=headers)
    assert problem(other) == (409, "email-taken")


async def test_invalid_key_of_a_sign_up_is_refused(store: Store) -> None:
    body = {"email": new_email(), "password": PASSWORD}
    for key in (b"", b"x" * 256, "caf\u00e9".encode()):
        assert problem(await store.http.post("/users", json=body, headers={b"Idempotency-Key": key}))[0] == 422
    assert problem(await store.http.post("/users", json=body | {"idempotencyKey": "1"})) == (422, "invalid-request")


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"email": "nobody"}, "/email"),
        ({"email": None}, "/email"),
        ({"password": "short"}, "/password"),
        ({"password": "password1"}, "/password"),
        ({"password": 12345678}, "/password"),
        ({"name": ""}, "/name"),
        ({"name": "A\u0000da"}, "/name"),
        ({"role": "admin"}, "/role"),
        ({"a/b~c": 1}, "/a~1b~0c"),
    ],
)
async def test_invalid_user_field_is_named(store: Store, body: dict[str, Any], pointer: str) -> None:
    response = await store.http.post("/users", json={"email": new_email(), "password": PASSWORD, **body})
    assert response.status_code == 422
    assert [error["pointer"] for error in response.json()["errors"]] == [pointer]


async def test_own_user_has_an_etag(store: Store) -> None:
    ada = await store.sign_up(name="Ada")
    for path in ("/users/me", f"/users/{ada.id}", f"/users/{ada.id.upper()}"):
        response = await ada.get(path)
        assert (response.status_code, response.json()) == (200, ada.user)
        assert response.headers["etag"] == '"1"'
        assert response.headers["cache-control"] == "private, no-cache"


@pytest.mark.parametrize(
    ("known", "status"),
    [('"1"', 304), ('W/"1"', 304), ('"7", W/"1"', 304), ("*", 304), ('"2"', 200), ("1", 200), ("", 200)],
)
async def test_matching_etag_returns_304(store: Store, known: str, status: int) -> None:
    ada = await store.somebody()
    response = await ada.get("/users/me", {"If-None-Match": known})
    assert response.status_code == status
    assert response.headers["etag"] == '"1"'
    if status == 304:
        assert response.content == b""
        assert response.headers["cache-control"] == "private, no-cache"


async def test_other_and_unknown_users_look_the_same(store: Store) -> None:
    ada, bob = await store.sign_up(), await store.sign_up()
    responses = []
    for user_id in (bob.id, uuid4()):
        responses += [
            await ada.get(f"/users/{user_id}"),
            await ada.request("PATCH", f"/users/{user_id}", json={"name": "X"}),
            await ada.request("DELETE", f"/users/{user_id}"),
            await ada.request(
                "PUT", f"/users/{user_id}/password", json={"currentPassword": PASSWORD, "newPassword": NEW}
            ),
        ]
    assert {problem(response) for response in responses} == {(404, "not-found")}
    assert (await bob.get("/users/me")).json() == bob.user


async def test_admin_reads_changes_and_deletes_any_user(store: Store) -> None:
    ada, admin = await store.sign_up(name="Ada"), await store.admin()
    assert (await admin.get(f"/users/{ada.id}")).json() == ada.user
    changed = await admin.request("PATCH", f"/users/{ada.id}", json={"role": "admin", "name": None})
    assert (changed.json()["role"], changed.json()["name"]) == ("admin", None)
    assert (await admin.request("DELETE", f"/users/{ada.id}")).status_code == 204
    assert problem(await admin.get(f"/users/{ada.id}")) == (404, "not-found")
    assert problem(await admin.request("PATCH", f"/users/{uuid4()}", json={})) == (404, "user-not-found")
    assert problem(await admin.request("DELETE", f"/users/{uuid4()}")) == (404, "user-not-found")


async def test_admin_changes_only_the_own_password(store: Store) -> None:
    ada, admin = await store.sign_up(), await store.admin()
    body = {"currentPassword": PASSWORD, "newPassword": NEW}
    assert problem(await admin.request("PUT", f"/users/{ada.id}/password", json=body)) == (404, "not-found")
    assert (await admin.request("PUT", f"/users/{admin.id}/password", json=body)).status_code == 204


async def test_admin_lists_users_newest_first_in_pages(store: Store) -> None:
    made = [(await store.sign_up()).id for _ in range(4)]
    admin = await store.admin()
    seen, cursor = [], None
    for _ in range(3):
        page = (await admin.get("/users", limit=2, **({"cursor": cursor} if cursor else {}))).json()
        assert set(page) == {"data", "hasMore", "nextCursor"}
        assert len(page["data"]) == 2
        seen += [user["id"] for user in page["data"]]
        cursor = page["nextCursor"]
        assert page["hasMore"] is (cursor is not None)
    assert seen[:5] == [admin.id, *reversed(made)]
    assert len((await admin.get("/users")).json()["data"]) <= 20


async def test_listing_users_is_for_admins(store: Store) -> None:
    assert problem(await (await store.sign_up()).get("/users")) == (403, "forbidden")


async def test_patch_changes_only_the_given_fields(store: Store) -> None:
    ada = await store.sign_up(name="Ada")
    email = new_email()
    response = await ada.request("PATCH", f"/users/{ada.id}", json=CONFIRMED | {"email": email.upper()})
    assert (response.status_code, response.headers["etag"]) == (200, '"2"')
    assert (response.json()["email"], response.json()["name"], response.json()["version"]) == (email, "Ada", 2)
    nameless = await ada.request("PATCH", f"/users/{ada.id}", json={"name": None})
    assert (nameless.json()["name"], nameless.json()["email"]) == (None, email)
    same = await ada.request("PATCH", f"/users/{ada.id}", json={})
    assert same.json() == nameless.json()


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"email": None}, "/email"),
        ({"email": "x"}, "/email"),
        ({"name": 5}, "/name"),
        ({"name": ""}, "/name"),
        ({"role": "king"}, "/role"),
        ({"disabled": "perhaps"}, "/disabled"),
        ({"password": NEW}, "/password"),
        ({"expectedVersion": 1}, "/expectedVersion"),
        ({"id": str(UUID(int=1))}, "/id"),
    ],
)
async def test_invalid_change_is_named(store: Store, body: dict[str, Any], pointer: str) -> None:
    admin = await store.some_admin()
    response = await admin.request("PATCH", f"/users/{admin.id}", json=body)
    assert response.status_code == 422
    assert {error["pointer"] for error in response.json()["errors"]} == {pointer}


@pytest.mark.parametrize("body", [{"role": "admin"}, {"disabled": True}, {"role": "user"}])
async def test_role_and_disabled_are_for_admins(store: Store, body: dict[str, Any]) -> None:
    ada = await store.somebody()
    assert problem(await ada.request("PATCH", f"/users/{ada.id}", json=body)) == (403, "forbidden")


async def test_changing_to_a_taken_email_is_a_conflict(store: Store) -> None:
    ada, bob = await store.sign_up(), await store.sign_up()
    response = await ada.request("PATCH", f"/users/{ada.id}", json=CONFIRMED | {"email": bob.user["email"]})
    assert problem(response) == (409, "email-taken")


@pytest.mark.parametrize(
    ("expected", "status"),
    [
        ('"1"', 200),
        ("*", 200),
        (' "1" ', 200),
        ('"7", "1"', 200),
        ('"7" ,"1"', 200),
        ('"2"', 412),
        ('"7", "8"', 412),
        ('W/"1"', 412),
        ('"01"', 412),
        ('"1', 412),
        ("1", 412),
        ('"x"', 412),
        ('"99999999999999999999"', 412),
        ('"1000000000001"', 412),
    ],
)
async def test_if_match_guards_a_change(store: Store, expected: str, status: int) -> None:
    ada = await store.sign_up()
    response = await ada.request("PATCH", f"/users/{ada.id}", {"If-Match": expected}, json={"name": "Countess"})
    assert response.status_code == status, response.text
    if status == 412:
        assert response.json()["code"] == "version-mismatch"
        assert (await ada.get("/users/me")).json() == ada.user


async def test_password_change_needs_the_current_password(store: Store) -> None:
    ada = await store.sign_up()
    path, email = f"/users/{ada.id}/password", ada.user["email"]
    wrong = await ada.request("PUT", path, json={"currentPassword": "wrong", "newPassword": NEW})
    assert problem(wrong) == (422, "wrong-password")
    assert [error["pointer"] for error in wrong.json()["errors"]] == ["/currentPassword"]
    common = await ada.request("PUT", path, json={"currentPassword": PASSWORD, "newPassword": "password1"})
    assert [error["pointer"] for error in common.json()["errors"]] == ["/newPassword"]
    done = await ada.request("PUT", path, json={"currentPassword": PASSWORD, "newPassword": NEW})
    assert (done.status_code, done.content) == (204, b"")
    assert await store.token(email, NEW)


async def test_field_names_are_camel_case_only(store: Store) -> None:
    ada = await store.sign_up()
    response = await ada.request(
        "PUT", f"/users/{ada.id}/password", json={"current_password": PASSWORD, "new_password": NEW}
    )
    assert {error["pointer"] for error in response.json()["errors"]} == {
        "/currentPassword",
        "/newPassword",
        "/current_password",
        "/new_password",
    }


async def refused(caller: SignedInUser) -> bool:
    response = await caller.get("/users/me")
    return response.status_code == 401


async def test_deletion_revokes_the_token_and_frees_the_email(store: Store) -> None:
    ada = await store.sign_up()
    response = await ada.request("DELETE", f"/users/{ada.id}", json=CONFIRMED)
    assert (response.status_code, response.content) == (204, b"")
    await eventually(lambda: refused(ada))
    response = await ada.get("/payments")
    assert problem(response) == (401, "unauthorized")
    assert response.headers["www-authenticate"] == 'Bearer error="invalid_token"'
    again = await store.http.post("/users", json={"email": ada.user["email"], "password": PASSWORD})
    assert again.status_code == 201


async def test_disabled_user_is_refused_until_the_next_sign_in(store: Store) -> None:
    ada, admin = await store.sign_up(), await store.admin()
    assert (await admin.request("PATCH", f"/users/{ada.id}", json={"disabled": True})).json()["disabled"] is True
    await eventually(lambda: refused(ada))
    credentials = {"email": ada.user["email"], "password": PASSWORD}
    assert problem(await store.http.post("/auth/sessions", json=credentials)) == (401, "invalid-credentials")
    await admin.request("PATCH", f"/users/{ada.id}", json={"disabled": False})
    assert await refused(ada)

    async def signed_in_again() -> bool:
        return not await refused(SignedInUser(store.http, ada.user, await store.token(ada.user["email"])))

    await eventually(signed_in_again)
