"""What users and admins do over HTTP, from sign-up to deletion."""

import uuid

import httpx
import pytest
from jose import jwt

from tests.support.http_client import (
    PASSWORD,
    Caller,
    assert_problem,
    operator,
    sign_up,
    sign_up_admin,
    token,
    unused_email,
)
from tests.support.polling import eventually
from tests.support.running_store import Running
from tests.support.stored_data import messages

pytestmark = pytest.mark.usefixtures("documented")


async def test_user_signs_up_signs_in_and_reads_their_account(http: httpx.AsyncClient) -> None:
    email = unused_email()
    body = {"email": email.upper(), "password": PASSWORD, "name": "Ada"}
    created = await http.post("/users", json=body)
    assert created.status_code == 201, created.text
    user = created.json()
    assert created.headers["Location"] == f"/users/{user['id']}"
    assert user.keys() >= {"id", "email", "name", "role", "createdAt", "updatedAt"}
    assert (user["email"], user["name"], user["role"]) == (email, "Ada", "user")
    assert uuid.UUID(user["id"]).version == 7
    assert "password" not in created.text

    answer = await http.post("/auth/sessions", json={"email": email, "password": PASSWORD})
    tokens = answer.json()
    assert (answer.status_code, tokens["userId"]) == (201, user["id"])
    assert 0 < tokens["expiresIn"] <= 900
    assert answer.headers["Cache-Control"] == "no-store"

    bearer = {"Authorization": f"Bearer {tokens['accessToken']}"}
    for path in ("/users/me", f"/users/{user['id']}"):
        seen = await http.get(path, headers=bearer)
        assert (seen.status_code, seen.json()) == (200, user)
    assert_problem(await http.post("/users", json=body), 409, "email-taken")
    assert_problem(await http.get("/users/me"), 401)


async def test_etag_avoids_a_body_and_a_lost_update(http: httpx.AsyncClient) -> None:
    ada = await sign_up(http)
    first = await ada("GET", "/users/me")
    etag = first.headers["ETag"]
    unchanged = await ada("GET", "/users/me", headers={"If-None-Match": etag})
    assert (unchanged.status_code, unchanged.content, unchanged.headers["ETag"]) == (304, b"", etag)

    path = f"/users/{ada.id}"
    changed = await ada("PATCH", path, json={"name": "Ada"}, headers={"If-Match": etag})
    assert (changed.status_code, changed.json()["name"]) == (200, "Ada")
    assert changed.headers["ETag"] != etag
    assert_problem(await ada("PATCH", path, json={"name": "Eve"}, headers={"If-Match": etag}), 412)
    again = await ada("GET", "/users/me", headers={"If-None-Match": etag})
    assert (again.status_code, again.json()) == (200, changed.json())

    email = unused_email()
    moved = await ada("PATCH", path, json={"email": email, "name": None, "currentPassword": PASSWORD})
    assert (moved.json()["email"], moved.json()["name"]) == (email, None)
    await token(http, email)
    other = await sign_up(http)
    assert_problem(
        await other("PATCH", f"/users/{other.id}", json={"email": email, "currentPassword": PASSWORD}),
        409,
        "email-taken",
    )
    assert_problem(await ada("PATCH", path, json={"role": "admin"}), 403)


async def test_new_password_replaces_the_old_one(http: httpx.AsyncClient) -> None:
    ada = await sign_up(http)
    new = "another long enough sentence"
    path = f"/users/{ada.id}/password"
    wrong = await ada("PUT", path, json={"currentPassword": new, "newPassword": new})
    assert_problem(wrong, 422, "wrong-password")
    done = await ada("PUT", path, json={"currentPassword": PASSWORD, "newPassword": new})
    assert (done.status_code, done.content) == (204, b"")
    await token(http, ada.email, new)
    refused = await http.post("/auth/sessions", json={"email": ada.email, "password": PASSWORD})
    assert_problem(refused, 401, "invalid-credentials")


async def test_unknown_email_and_wrong_password_get_the_same_answer(http: httpx.AsyncClient) -> None:
    ada = await sign_up(http)

    async def refusal(email: str) -> dict[str, object]:
        answer = await http.post("/auth/sessions", json={"email": email, "password": "no such password"})
        assert_problem(answer, 401, "invalid-credentials")
        body: dict[str, object] = answer.json()
        del body["requestId"], body["instance"]
        return body

    assert await refusal(ada.email) == await refusal(unused_email())


async def test_admin_lists_pays_for_and_disables_users(store: Running, http: httpx.AsyncClient) -> None:
    ada, others = await sign_up_admin(http, store), [await sign_up(http) for _ in range(3)]
    assert (await ada("GET", "/users/me")).json()["role"] == "admin"

    seen, cursor = [], None
    while True:
        page = (await ada("GET", "/users", params={"limit": 2} | ({"cursor": cursor} if cursor else {}))).json()
        seen += [user["id"] for user in page["data"]]
        cursor = page["nextCursor"]
        assert page["hasMore"] is (cursor is not None)
        if {user.id for user in others} <= set(seen) or not cursor:
            break
    assert len(seen) == len(set(seen))
    assert seen.index(others[2].id) < seen.index(others[1].id) < seen.index(others[0].id)
    assert_problem(await others[0]("GET", "/users"), 403)

    made = await ada("POST", "/payments", json={"amount": 5, "userId": others[0].id}, headers={"Prefer": "wait=20"})
    assert (made.status_code, made.json()["userId"]) == (201, others[0].id)
    path = made.headers["Location"]
    assert (await others[0]("GET", path)).json() == (await ada("GET", path)).json() == made.json()
    of_one = await ada("GET", "/payments", params={"userId": others[0].id})
    assert [payment["id"] for payment in of_one.json()["data"]] == [made.json()["id"]]

    unknown = await ada("POST", "/payments", json={"amount": 5, "userId": str(uuid.uuid4())})
    assert_problem(unknown, 422, "unknown-user")
    assert_problem(await others[0]("POST", "/payments", json={"amount": 5, "userId": others[1].id}), 403)

    disabled = await ada("PATCH", f"/users/{others[2].id}", json={"disabled": True})
    assert disabled.status_code == 200, disabled.text

    async def locked_out() -> bool:
        return (await others[2]("GET", "/users/me")).status_code == 401

    await eventually(locked_out)


async def test_promoting_an_unknown_email_fails(store: Running) -> None:
    with pytest.raises(AssertionError, match="no user with the email"):
        await operator(store, "users", "promote", unused_email())


async def test_payment_is_pending_then_created_and_never_unknown(http: httpx.AsyncClient) -> None:
    ada = await sign_up(http)
    body = {"amount": 1999, "currency": "JPY", "metadata": {"order": "A-1", "café": "☕"}}
    made = await ada("POST", "/payments", json=body)
    assert made.status_code == 202, made.text
    payment = made.json()
    assert payment.keys() == {"id", "userId", "amount", "currency", "metadata", "status", "createdAt"}
    assert payment["status"] == "pending"
    assert payment.items() >= (body | {"userId": ada.id}).items()
    assert uuid.UUID(payment["id"]).version == 7
    assert made.headers["Location"] == f"/payments/{payment['id']}"

    async def recorded() -> dict[str, object]:
        seen = await ada("GET", made.headers["Location"])
        assert seen.status_code == 200, seen.text
        return dict(seen.json()) if seen.json()["status"] != "pending" else {}

    assert await eventually(recorded) == payment | {"status": "created"}


async def test_payment_over_the_limit_is_rejected_with_a_reason(http: httpx.AsyncClient) -> None:
    ada = await sign_up(http)
    payment = await ada.paid(2**53 - 1)
    assert (payment["status"], payment["reason"]) == ("rejected", "amount-over-limit")
    rejected = await ada("GET", "/payments", params={"status": "rejected"})
    assert rejected.json()["data"] == [payment]
    assert (await ada("GET", "/payments", params={"status": "created"})).json()["data"] == []


async def test_repeated_key_returns_the_first_answer(http: httpx.AsyncClient) -> None:
    ada, key = await sign_up(http), f"key {uuid.uuid4()}"
    first = await ada.pay(7, key=key)
    assert first.status_code == 202, first.text
    assert "Idempotent-Replayed" not in first.headers
    assert uuid.UUID(first.json()["id"]).version == 8
    waited = await ada.pay(7, key=key, wait=20)
    assert (waited.status_code, waited.json()["status"]) == (201, "created")
    again = await ada.pay(7, key=key)
    assert (again.status_code, again.content) == (202, first.content)
    assert again.headers["Idempotent-Replayed"] == waited.headers["Idempotent-Replayed"] == "true"
    assert again.headers["Location"] == first.headers["Location"]
    assert_problem(await ada.pay(8, key=key), 422, "idempotency-key-reused")
    other = await (await sign_up(http)).pay(7, key=key)
    assert (other.status_code, other.json()["id"] != first.json()["id"]) == (202, True)
    assert len((await ada("GET", "/payments")).json()["data"]) == 1


async def test_payments_are_listed_newest_first_in_pages(http: httpx.AsyncClient) -> None:
    ada = await sign_up(http)
    made = [await ada.paid(amount) for amount in range(1, 8)]
    seen, cursor = [], ""
    for pages_left in (2, 1, 0):
        page = (await ada("GET", "/payments", params={"limit": 3} | ({"cursor": cursor} if cursor else {}))).json()
        assert (page["hasMore"], page["nextCursor"] is not None) == (pages_left > 0, pages_left > 0)
        seen += page["data"]
        cursor = page["nextCursor"]
    assert seen == made[::-1]


async def test_resources_of_other_users_are_not_found(http: httpx.AsyncClient) -> None:
    ada, eve = await sign_up(http), await sign_up(http)
    payment = await ada.paid()
    assert_problem(await eve("GET", f"/payments/{payment['id']}"), 404)
    assert_problem(await eve("GET", f"/users/{ada.id}"), 404)
    assert_problem(await eve("PATCH", f"/users/{ada.id}", json={"name": "Eve"}), 404)
    assert_problem(await eve("DELETE", f"/users/{ada.id}"), 404)
    passwords = {"currentPassword": PASSWORD, "newPassword": f"{PASSWORD}!"}
    assert_problem(await eve("PUT", f"/users/{ada.id}/password", json=passwords), 404)
    assert_problem(await eve("GET", "/payments", params={"userId": ada.id}), 403)
    assert (await eve("GET", "/payments")).json()["data"] == []


async def test_deleted_user_is_gone_and_the_email_is_free(store: Running, http: httpx.AsyncClient) -> None:
    ada = await sign_up(http)
    payment = await ada.paid()
    done = await ada("DELETE", f"/users/{ada.id}", json={"currentPassword": PASSWORD})
    assert (done.status_code, done.content) == (204, b"")

    async def token_is_refused() -> bool:
        return (await ada("GET", "/payments")).status_code == 401

    await eventually(token_is_refused)
    credentials = {"email": ada.email, "password": PASSWORD}
    assert_problem(await http.post("/auth/sessions", json=credentials), 401, "invalid-credentials")
    heir = await sign_up(http, ada.email)
    assert heir.id != ada.id
    assert_problem(await heir("GET", f"/payments/{payment['id']}"), 404)

    async def subjects() -> list[str]:
        return [m.subject for m in await messages(store, "USER_EVENTS") if m.headers["ce-subject"] == ada.id]

    async def deletion_is_published() -> bool:
        return "user.deleted" in await subjects()

    await eventually(deletion_is_published)
    assert await subjects() == ["user.created", "user.deleted"]


async def test_request_id_is_returned_and_copied_to_the_event(store: Running, http: httpx.AsyncClient) -> None:
    ada, request_id = await sign_up(http), f"journey-{uuid.uuid4()}"
    answer = await ada("POST", "/payments", json={"amount": 3}, headers={"X-Request-Id": request_id})
    assert answer.headers["X-Request-Id"] == request_id

    async def event() -> dict[str, str]:
        events = await messages(store, "PAYMENT_EVENTS")
        return next((dict(m.headers) for m in events if m.headers["ce-subject"] == answer.json()["id"]), {})

    headers = await eventually(event)
    assert headers["X-Request-Id"] == request_id
    assert headers["ce-id"] == headers["Nats-Msg-Id"]
    assert (headers["ce-type"], headers["ce-specversion"]) == ("payment.created", "1.0")
    assert headers.keys() >= {"ce-source", "ce-time", "traceparent"}

    new_id = (await http.get("/health/live", headers={"X-Request-Id": "no id"})).headers["X-Request-Id"]
    assert new_id
    assert new_id != "no id"


async def test_published_keys_verify_the_tokens(http: httpx.AsyncClient) -> None:
    ada = await sign_up(http)
    answer = await http.get("/.well-known/jwks.json")
    assert "max-age" in answer.headers["Cache-Control"]
    kid = jwt.get_unverified_header(ada.token)["kid"]
    key = next(key for key in answer.json()["keys"] if key["kid"] == kid)
    assert "d" not in key
    assert jwt.decode(ada.token, key, algorithms=["ES256"], audience="mkstore")["sub"] == ada.id


@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/asyncapi", "/asyncapi/payments", "/asyncapi/users.json"])
async def test_documentation_loads_nothing_from_other_servers(http: httpx.AsyncClient, path: str) -> None:
    answer = await http.get(path)
    assert answer.status_code == 200, answer.text
    assert 'src="http' not in answer.text
    assert 'href="//' not in answer.text


async def test_unknown_routes_and_methods_are_problems(http: httpx.AsyncClient) -> None:
    ada: Caller = await sign_up(http)
    assert_problem(await ada("GET", "/no/such/page"), 404)
    refused = await ada("DELETE", "/payments")
    assert_problem(refused, 405)
    assert refused.headers["Allow"]
    assert_problem(await ada("GET", f"/payments/{uuid.uuid4()}"), 404)
    assert_problem(await ada("GET", "/users/"), 404)
