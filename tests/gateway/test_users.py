"""Users over HTTP."""

from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from tests.support.polling import eventually
from tests.support.store import Caller, Store
from tests.support.users_harness import PASSWORD, new_email

pytestmark = pytest.mark.asyncio(loop_scope="module")

NEW = "staple of another colour"


def problem(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


async def test_who_registers_is_told_where(store: Store) -> None:
    email = new_email()
    answer = await store.http.post("/users", json={"email": email.upper(), "password": PASSWORD, "name": "Ada"})
    assert answer.status_code == 201
    user = answer.json()
    assert answer.headers["location"] == f"/users/{user['id']}"
    assert answer.headers["etag"] == '"1"'
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


async def test_a_name_may_be_left_out(store: Store) -> None:
    assert (await store.sign_up()).user["name"] is None


async def test_a_taken_email_is_a_conflict(store: Store) -> None:
    ada = await store.sign_up()
    again = {"email": ada.user["email"].upper(), "password": PASSWORD}
    assert problem(await store.http.post("/users", json=again)) == (409, "email-taken")


@pytest.mark.parametrize(
    ("said", "pointer"),
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
async def test_what_a_user_cannot_be_is_pointed_to(store: Store, said: dict[str, Any], pointer: str) -> None:
    answer = await store.http.post("/users", json={"email": new_email(), "password": PASSWORD, **said})
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


async def test_oneself_is_seen_with_an_etag(store: Store) -> None:
    ada = await store.sign_up(name="Ada")
    for path in ("/users/me", f"/users/{ada.id}", f"/users/{ada.id.upper()}"):
        answer = await ada.get(path)
        assert (answer.status_code, answer.json()) == (200, ada.user)
        assert answer.headers["etag"] == '"1"'
        assert answer.headers["cache-control"] == "private, no-cache"


@pytest.mark.parametrize(
    ("known", "status"),
    [('"1"', 304), ('W/"1"', 304), ('"7", W/"1"', 304), ("*", 304), ('"2"', 200), ("1", 200), ("", 200)],
)
async def test_what_is_known_is_not_sent_again(store: Store, known: str, status: int) -> None:
    ada = await store.somebody()
    answer = await ada.get("/users/me", {"If-None-Match": known})
    assert answer.status_code == status
    assert answer.headers["etag"] == '"1"'
    if status == 304:
        assert answer.content == b""
        assert answer.headers["cache-control"] == "private, no-cache"


async def test_somebody_else_is_not_there_and_nobody_neither(store: Store) -> None:
    ada, bob = await store.sign_up(), await store.sign_up()
    answers = []
    for user_id in (bob.id, uuid4()):
        answers += [
            await ada.get(f"/users/{user_id}"),
            await ada.ask("PATCH", f"/users/{user_id}", json={"name": "X"}),
            await ada.ask("DELETE", f"/users/{user_id}"),
            await ada.ask("PUT", f"/users/{user_id}/password", json={"currentPassword": PASSWORD, "newPassword": NEW}),
        ]
    assert {problem(answer) for answer in answers} == {(404, "not-found")}
    assert (await bob.get("/users/me")).json() == bob.user


async def test_an_admin_sees_changes_and_deletes_anybody(store: Store) -> None:
    ada, admin = await store.sign_up(name="Ada"), await store.admin()
    assert (await admin.get(f"/users/{ada.id}")).json() == ada.user
    changed = await admin.ask("PATCH", f"/users/{ada.id}", json={"role": "admin", "name": None})
    assert (changed.json()["role"], changed.json()["name"]) == ("admin", None)
    assert (await admin.ask("DELETE", f"/users/{ada.id}")).status_code == 204
    assert problem(await admin.get(f"/users/{ada.id}")) == (404, "not-found")
    assert problem(await admin.ask("PATCH", f"/users/{uuid4()}", json={})) == (404, "user-not-found")
    assert problem(await admin.ask("DELETE", f"/users/{uuid4()}")) == (404, "user-not-found")


async def test_an_admin_changes_nobodys_password_but_the_own(store: Store) -> None:
    ada, admin = await store.sign_up(), await store.admin()
    body = {"currentPassword": PASSWORD, "newPassword": NEW}
    assert problem(await admin.ask("PUT", f"/users/{ada.id}/password", json=body)) == (404, "not-found")
    assert (await admin.ask("PUT", f"/users/{admin.id}/password", json=body)).status_code == 204


async def test_users_are_listed_for_admins_newest_first_page_by_page(store: Store) -> None:
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


async def test_users_are_listed_for_nobody_else(store: Store) -> None:
    assert problem(await (await store.sign_up()).get("/users")) == (403, "forbidden")


async def test_only_what_is_said_changes(store: Store) -> None:
    ada = await store.sign_up(name="Ada")
    email = new_email()
    answer = await ada.ask("PATCH", f"/users/{ada.id}", json={"email": email.upper()})
    assert (answer.status_code, answer.headers["etag"]) == (200, '"2"')
    assert (answer.json()["email"], answer.json()["name"], answer.json()["version"]) == (email, "Ada", 2)
    nameless = await ada.ask("PATCH", f"/users/{ada.id}", json={"name": None})
    assert (nameless.json()["name"], nameless.json()["email"]) == (None, email)
    same = await ada.ask("PATCH", f"/users/{ada.id}", json={})
    assert same.json() == nameless.json()


@pytest.mark.parametrize(
    ("said", "pointer"),
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
async def test_a_change_that_cannot_be_is_pointed_to(store: Store, said: dict[str, Any], pointer: str) -> None:
    admin = await store.some_admin()
    answer = await admin.ask("PATCH", f"/users/{admin.id}", json=said)
    assert answer.status_code == 422
    assert {error["pointer"] for error in answer.json()["errors"]} == {pointer}


@pytest.mark.parametrize("said", [{"role": "admin"}, {"disabled": True}, {"role": "user"}])
async def test_nobody_gives_oneself_what_is_an_admins_to_give(store: Store, said: dict[str, Any]) -> None:
    ada = await store.somebody()
    assert problem(await ada.ask("PATCH", f"/users/{ada.id}", json=said)) == (403, "forbidden")


async def test_an_email_cannot_become_a_taken_one(store: Store) -> None:
    ada, bob = await store.sign_up(), await store.sign_up()
    answer = await ada.ask("PATCH", f"/users/{ada.id}", json={"email": bob.user["email"]})
    assert problem(answer) == (409, "email-taken")


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
async def test_a_change_is_made_only_of_the_version_that_is_expected(store: Store, expected: str, status: int) -> None:
    ada = await store.sign_up()
    answer = await ada.ask("PATCH", f"/users/{ada.id}", {"If-Match": expected}, json={"name": "Countess"})
    assert answer.status_code == status, answer.text
    if status == 412:
        assert answer.json()["code"] == "version-mismatch"
        assert (await ada.get("/users/me")).json() == ada.user


async def test_a_password_is_changed_by_who_knows_it(store: Store) -> None:
    ada = await store.sign_up()
    path, email = f"/users/{ada.id}/password", ada.user["email"]
    wrong = await ada.ask("PUT", path, json={"currentPassword": "wrong", "newPassword": NEW})
    assert problem(wrong) == (422, "wrong-password")
    assert [error["pointer"] for error in wrong.json()["errors"]] == ["/currentPassword"]
    common = await ada.ask("PUT", path, json={"currentPassword": PASSWORD, "newPassword": "password1"})
    assert [error["pointer"] for error in common.json()["errors"]] == ["/newPassword"]
    done = await ada.ask("PUT", path, json={"currentPassword": PASSWORD, "newPassword": NEW})
    assert (done.status_code, done.content) == (204, b"")
    assert await store.token(email, NEW)


async def test_field_names_are_those_of_the_documentation_and_no_others(store: Store) -> None:
    ada = await store.sign_up()
    answer = await ada.ask("PUT", f"/users/{ada.id}/password", json={"current_password": PASSWORD, "new_password": NEW})
    assert {error["pointer"] for error in answer.json()["errors"]} == {
        "/currentPassword",
        "/newPassword",
        "/current_password",
        "/new_password",
    }


async def refused(caller: Caller) -> bool:
    answer = await caller.get("/users/me")
    return answer.status_code == 401


async def test_who_is_deleted_is_gone_with_the_token_and_frees_the_email(store: Store) -> None:
    ada = await store.sign_up()
    answer = await ada.ask("DELETE", f"/users/{ada.id}")
    assert (answer.status_code, answer.content) == (204, b"")
    await eventually(lambda: refused(ada))
    answer = await ada.get("/payments")
    assert problem(answer) == (401, "unauthorized")
    assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'
    again = await store.http.post("/users", json={"email": ada.user["email"], "password": PASSWORD})
    assert again.status_code == 201


async def test_who_is_disabled_is_refused_until_enabled_and_signed_in_again(store: Store) -> None:
    ada, admin = await store.sign_up(), await store.admin()
    assert (await admin.ask("PATCH", f"/users/{ada.id}", json={"disabled": True})).json()["disabled"] is True
    await eventually(lambda: refused(ada))
    form = {"grant_type": "password", "username": ada.user["email"], "password": PASSWORD}
    assert problem(await store.http.post("/auth/token", data=form)) == (400, "invalid_grant")
    await admin.ask("PATCH", f"/users/{ada.id}", json={"disabled": False})
    assert await refused(ada)

    async def signed_in_again() -> bool:  # a token says its time in seconds: one of the same second is refused as well
        return not await refused(Caller(store.http, ada.user, await store.token(ada.user["email"])))

    await eventually(signed_in_again)
