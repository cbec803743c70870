"""Every refusal is a problem (RFC 9457), whoever refuses, and tells nothing that is nobody's business."""

import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from tests.support.store import Store, api, new_key
from tests.support.users_harness import PASSWORD, new_email

pytestmark = pytest.mark.asyncio(loop_scope="module")

MOST = 1 << 20
SOMEBODY = UUID(int=1)


def checked(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Return a problem after a look at all that every problem has."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert problem | {"detail": "", "errors": []} == {
        "type": f"/problems/{code}",
        "title": code.replace("-", " ").capitalize(),
        "status": status,
        "detail": "",
        "code": code,
        "requestId": answer.headers["x-request-id"],
        "errors": [],
    }
    assert problem["detail"]
    assert ("errors" in problem) is (status == 422)
    for error in problem.get("errors", []):
        assert set(error) == {"pointer", "code", "message"}
        assert error["message"]
    for word in ("Traceback", "nats", "asyncpg", ".py", "127.0.0.1"):
        assert word not in answer.text
    return problem


async def test_an_unknown_path_is_not_found(store: Store) -> None:
    for path in ("/", "/nothing", "/users/me/", "/payments/", "//users", "/auth", "/users/%ff"):
        assert (await store.http.get(path)).status_code in {404, 401}
    checked(await store.http.get("/nothing"), 404, "not-found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", f"/users/{SOMEBODY}", {"GET", "PATCH", "DELETE"}),
        ("POST", f"/users/{SOMEBODY}", {"GET", "PATCH", "DELETE"}),
        ("DELETE", "/users", {"GET", "POST"}),
        ("GET", f"/users/{SOMEBODY}/password", {"PUT"}),
        ("GET", "/auth/token", {"POST"}),
        ("PATCH", f"/payments/{SOMEBODY}", {"GET"}),
        ("PUT", "/payments", {"GET", "POST"}),
        ("POST", "/health", {"GET"}),
    ],
)
async def test_another_method_is_told_which_there_are(store: Store, method: str, path: str, allowed: set[str]) -> None:
    answer = await store.http.request(method, path)
    checked(answer, 405, "method-not-allowed")
    assert set(answer.headers["allow"].split(", ")) == allowed


async def test_a_body_that_says_it_is_too_long_is_refused(store: Store) -> None:
    checked(await store.http.post("/users", content=b"x" * (MOST + 1)), 413, "body-too-large")
    assert (await store.http.post("/users", content=b"x" * MOST)).status_code != 413


@pytest.mark.parametrize("length", ["x", "-1", "1e3", ""])
async def test_a_length_that_is_no_number_does_no_harm(store: Store, length: str) -> None:
    answer = await store.http.post("/users", headers={"Content-Length": length}, content=b"{}")
    assert answer.status_code == 422


@pytest.mark.parametrize("path", ["/users", "/auth/token"])
async def test_a_body_that_never_ends_is_taken_up_to_a_bound(store: Store, path: str) -> None:
    sent = 0  # what is taken is thrown away: a connection that is closed too early loses the answer on its way

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1 << 16
            yield b"x" * (1 << 16)

    headers = {"Content-Type": "application/x-www-form-urlencoded" if path == "/auth/token" else "application/json"}
    checked(await store.http.post(path, content=endless(), headers=headers), 413, "body-too-large")
    assert sent <= 17 * MOST + (1 << 17)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"nonsense", b'{"email": NaN}', b"\xff", b'{"a": ' + b"9" * 5000 + b"}", b"[" * 100_000]
)
async def test_a_body_that_is_no_json_is_no_request(store: Store, body: bytes) -> None:
    answer = await store.http.post("/users", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in {400, 422}
    checked(answer, answer.status_code, answer.json()["code"])


async def test_a_body_that_is_no_json_is_told_so(store: Store) -> None:
    answer = await store.http.post("/users", content=b"{", headers={"Content-Type": "application/json"})
    checked(answer, 400, "malformed-body")


@pytest.mark.parametrize("body", [b'{"email": "a", "email": "b"}', b'{"email": {"a": 1, "a": 1}}', b'{"email": NaN}'])
async def test_json_that_two_readers_could_read_differently_is_refused(store: Store, body: bytes) -> None:
    answer = await store.http.post("/users", content=body, headers={"Content-Type": "application/json"})
    checked(answer, 400, "malformed-body")


@pytest.mark.parametrize("body", [b"null", b"[]", b"1", b'"x"', b"[{}]"])
async def test_json_that_is_no_object_is_pointed_to_as_a_whole(store: Store, body: bytes) -> None:
    answer = await store.http.post("/users", content=body, headers={"Content-Type": "application/json"})
    problem = checked(answer, 422, "invalid-request")
    assert [error["pointer"] for error in problem["errors"]] == [""]


async def test_what_does_not_say_that_it_is_json_is_not_taken_for_it(store: Store) -> None:
    body = json.dumps({"email": new_email(), "password": PASSWORD}).encode()
    for media_type in ("text/plain", "application/x-www-form-urlencoded", "application/xml"):
        answer = await store.http.post("/users", content=body, headers={"Content-Type": media_type})
        checked(answer, 422, "invalid-request")
    for media_type in ("application/json; charset=utf-8", "application/merge-patch+json"):
        answer = await store.http.post("/users", content=body, headers={"Content-Type": media_type})
        assert answer.status_code in {201, 409}


async def test_what_is_wrong_is_said_of_each_field_at_once(store: Store) -> None:
    answer = await store.http.post("/users", json={"email": "x", "password": "x", "nickname": "x"})
    problem = checked(answer, 422, "invalid-request")
    assert {error["pointer"]: error["code"] for error in problem["errors"]} == {
        "/email": "value_error",
        "/password": "string_too_short",
        "/nickname": "extra_forbidden",
    }


async def test_what_the_client_sent_can_be_said_back_whatever_it_is(store: Store) -> None:
    body = b'{"email": "\\ud800", "password": "\\ud800xxxxxxxx", "\\ud800": 1}'
    answer = await store.http.post("/users", content=body, headers={"Content-Type": "application/json"})
    checked(answer, 422, "invalid-request")


async def test_each_way_to_say_no_is_a_problem(store: Store) -> None:
    ada, bob = await store.sign_up(), await store.sign_up()
    key = new_key()
    assert (await ada.pay(key)).status_code == 202
    checked(await ada.pay(key, amount=1), 422, "idempotency-key-reused")
    checked(await store.http.get("/users/me"), 401, "unauthorized")
    checked(await ada.get("/users"), 403, "forbidden")
    checked(await ada.pay(userId=bob.id), 403, "forbidden")
    checked(await ada.get(f"/payments/{uuid4()}"), 404, "not-found")
    checked(await ada.ask("PATCH", f"/users/{ada.id}", json={"email": bob.user["email"]}), 409, "email-taken")
    checked(await ada.ask("PATCH", f"/users/{ada.id}", {"If-Match": '"7"'}, json={}), 412, "version-mismatch")
    checked(await ada.ask("PATCH", f"/users/{ada.id}", {"If-Match": "x"}, json={}), 412, "version-mismatch")
    checked(await ada.get("/events", {"Last-Event-ID": "x"}), 422, "invalid-request")
    checked(await (await store.admin()).pay(userId=str(uuid4())), 422, "unknown-user")


async def test_a_failure_of_the_gateway_says_nothing_of_itself(store: Store) -> None:
    @api(store.app).get("/explode")
    async def explode() -> None:
        raise RuntimeError("a secret at 127.0.0.1")

    checked(await store.http.get("/explode"), 500, "internal-error")


async def test_what_is_away_is_said_at_once(store: Store) -> None:
    ada = await store.sign_up()
    async with store.outages.away("users"):
        for answer in (
            await ada.get("/users/me"),
            await store.http.post("/users", json={"email": new_email(), "password": PASSWORD}),
            await store.http.post("/auth/token", data={"grant_type": "password", "username": "a", "password": "b"}),
        ):
            problem = checked(answer, 503, "service-unavailable")
            assert problem["detail"] == "The users service is unavailable."
            assert answer.headers["retry-after"] == "1"
        # Whose token is known is served by those who are there; and the keys, which are known, are shown.
        assert (await ada.get("/payments")).status_code == 200
        assert (await store.http.get("/.well-known/jwks.json")).status_code == 200


async def test_what_does_not_answer_in_time_has_an_unknown_outcome(store: Store) -> None:
    ada = await store.sign_up()
    payment = await ada.paid()
    async with store.outages.silent("payments") as http:
        headers = {"Authorization": f"Bearer {ada.token}"}
        problem = checked(await http.get(f"/payments/{payment['id']}", headers=headers), 504, "outcome-unknown")
        assert problem["detail"].startswith("The payments service did not reply in time")
        body = {"amount": 1999}
        accepted = await http.post("/payments", headers=headers | {"Idempotency-Key": new_key()}, json=body)
        assert accepted.status_code == 202  # the queue is there, whatever the service does
    await ada.recorded(accepted.json()["id"])
