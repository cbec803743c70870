"""Every refusal is a problem (RFC 9457) that reveals no internals."""

import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from tests.support.store import Store, new_key
from tests.support.users_harness import CONFIRMED, PASSWORD, new_email

pytestmark = pytest.mark.asyncio(loop_scope="module")

MAX_BODY = 16 << 10
USER_ID = UUID(int=1)


def checked(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Return the problem of a response, after the checks that hold for every problem."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert problem | {"detail": "", "errors": []} == {
        "type": f"/problems/{code}",
        "title": code.replace("-", " ").capitalize(),
        "status": status,
        "detail": "",
        "code": code,
        "requestId": response.headers["x-request-id"],
        "instance": f"urn:uuid:{UUID(response.headers['x-request-id'])}",
        "errors": [],
    }
    assert problem["detail"]
    assert ("errors" in problem) is (status == 422)
    for error in problem.get("errors", []):
        assert set(error) == {"pointer", "code", "message"}
        assert error["message"]
    for word in ("Traceback", "nats", "asyncpg", ".py", "127.0.0.1"):
        assert word not in response.text
    return problem


@pytest.mark.parametrize(
    ("request_id", "instance"),
    [
        (UUID(int=1).hex, "urn:uuid:00000000-0000-0000-0000-000000000001"),
        (str(UUID(int=10)), "urn:uuid:00000000-0000-0000-0000-00000000000a"),
        ("A" * 32, f"urn:uuid:{UUID('a' * 32)}"),
        ("urn:uuid:00000000-0000-0000-0000-000000000001", None),
        ("0-" * 31 + "0", None),
        ("order-7", None),
    ],
)
async def test_instance_is_the_request_id_if_that_is_a_uuid(
    store: Store, request_id: str, instance: str | None
) -> None:
    """A URN needs no server that finds it; any other text has none (RFC 9562, section 4)."""
    for path in ("/nothing", "/users/me", f"/users/{USER_ID}"):
        problem = (await store.http.get(path, headers={"X-Request-Id": request_id})).json()
        assert (problem["requestId"], problem.get("instance")) == (request_id, instance)


async def test_unknown_path_is_not_found(store: Store) -> None:
    for path in ("/nothing", "/%2Fusers", "/users/me/", "/payments/", "/auth", "/users/%ff"):
        assert (await store.http.get(path)).status_code in {404, 401}
    checked(await store.http.get("/nothing"), 404, "not-found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", f"/users/{USER_ID}", {"GET", "PATCH", "DELETE"}),
        ("POST", f"/users/{USER_ID}", {"GET", "PATCH", "DELETE"}),
        ("DELETE", "/users", {"GET", "POST"}),
        ("GET", f"/users/{USER_ID}/password", {"PUT"}),
        ("PUT", "/auth/sessions", {"GET", "POST", "DELETE"}),
        ("PATCH", f"/payments/{USER_ID}", {"GET"}),
        ("PUT", "/payments", {"GET", "POST"}),
        ("POST", "/health", {"GET"}),
    ],
)
async def test_wrong_method_lists_the_allowed_ones(store: Store, method: str, path: str, allowed: set[str]) -> None:
    response = await store.http.request(method, path)
    checked(response, 405, "method-not-allowed")
    assert set(response.headers["allow"].split(", ")) == allowed


@pytest.mark.parametrize(
    ("method", "path", "limit"),
    [
        ("POST", "/users", MAX_BODY),
        ("POST", "/auth/sessions", MAX_BODY),
        ("PATCH", f"/users/{USER_ID}", MAX_BODY),
        ("PUT", f"/users/{USER_ID}/password", MAX_BODY),
        ("GET", "/users/me", MAX_BODY),
        ("POST", "/nothing", MAX_BODY),
        ("POST", "/payments", 256 << 10),
    ],
)
async def test_body_above_the_limit_of_its_route_is_refused(store: Store, method: str, path: str, limit: int) -> None:
    checked(await store.http.request(method, path, content=b"x" * (limit + 1)), 413, "body-too-large")
    assert (await store.http.request(method, path, content=b"x" * limit)).status_code != 413


@pytest.mark.parametrize("length", ["x", "-1", "1e3", ""])
async def test_invalid_content_length_is_ignored(store: Store, length: str) -> None:
    response = await store.http.post("/users", headers={"Content-Length": length}, content=b"{}")
    assert response.status_code == 422


@pytest.mark.parametrize("path", ["/users", "/auth/sessions"])
async def test_endless_body_is_read_up_to_a_bound(store: Store, path: str) -> None:
    sent = 0  # discarded by the gateway: closing the connection earlier would lose the response

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1 << 16
            yield b"x" * (1 << 16)

    headers = {"Content-Type": "application/json"}
    checked(await store.http.post(path, content=endless(), headers=headers), 413, "body-too-large")
    assert sent <= (16 << 20) + (1 << 18)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"nonsense", b'{"email": NaN}', b"\xff", b'{"a": ' + b"9" * 5000 + b"}", b"[" * 16_000]
)
async def test_non_json_body_is_refused(store: Store, body: bytes) -> None:
    response = await store.http.post("/users", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code in {400, 422}
    checked(response, response.status_code, response.json()["code"])


async def test_malformed_json_has_its_own_slug(store: Store) -> None:
    response = await store.http.post("/users", content=b"{", headers={"Content-Type": "application/json"})
    checked(response, 400, "malformed-body")


@pytest.mark.parametrize("body", [b'{"email": NaN}', b"\xff", b"[" * 16_000])
async def test_what_no_parser_reads_is_malformed(store: Store, body: bytes) -> None:
    response = await store.http.post("/users", content=body, headers={"Content-Type": "application/json"})
    checked(response, 400, "malformed-body")


@pytest.mark.parametrize("body", [b'{"email": "a", "email": "b"}', b'{"email": {"a": 1, "a": 1}}'])
async def test_ambiguous_json_is_refused(store: Store, body: bytes) -> None:
    response = await store.http.post("/users", content=body, headers={"Content-Type": "application/json"})
    problem = checked(response, 422, "invalid-request")
    assert [error["code"] for error in problem["errors"]] == ["duplicate-key"]


@pytest.mark.parametrize("body", [b"null", b"[]", b"1", b'"x"', b"[{}]"])
async def test_non_object_json_is_refused_as_a_whole(store: Store, body: bytes) -> None:
    response = await store.http.post("/users", content=body, headers={"Content-Type": "application/json"})
    problem = checked(response, 422, "invalid-request")
    assert [error["pointer"] for error in problem["errors"]] == [""]


async def test_body_needs_a_json_content_type(store: Store) -> None:
    body = json.dumps({"email": new_email(), "password": PASSWORD}).encode()
    for media_type in ("text/plain", "application/x-www-form-urlencoded", "application/xml"):
        response = await store.http.post("/users", content=body, headers={"Content-Type": media_type})
        checked(response, 422, "invalid-request")
    for media_type in ("application/json; charset=utf-8", "application/merge-patch+json"):
        response = await store.http.post("/users", content=body, headers={"Content-Type": media_type})
        assert response.status_code in {201, 409}


async def test_all_invalid_fields_are_reported_at_once(store: Store) -> None:
    response = await store.http.post("/users", json={"email": "x", "password": "x", "nickname": "x"})
    problem = checked(response, 422, "invalid-request")
    assert {error["pointer"]: error["code"] for error in problem["errors"]} == {
        "/email": "value_error",
        "/password": "string_too_short",
        "/nickname": "extra_forbidden",
    }


async def test_problem_may_contain_lone_surrogates(store: Store) -> None:
    body = b'{"email": "\\ud800", "password": "\\ud800xxxxxxxx", "\\ud800": 1}'
    response = await store.http.post("/users", content=body, headers={"Content-Type": "application/json"})
    checked(response, 422, "invalid-request")


async def test_every_refusal_is_a_problem(store: Store) -> None:
    ada, bob = await store.sign_up(), await store.sign_up()
    key = new_key()
    assert (await ada.pay(key)).status_code == 202
    checked(await ada.pay(key, amount=1), 422, "idempotency-key-reused")
    checked(await store.http.get("/users/me"), 401, "unauthorized")
    checked(await ada.get("/users"), 403, "forbidden")
    checked(await ada.pay(userId=bob.id), 403, "forbidden")
    checked(await ada.get(f"/payments/{uuid4()}"), 404, "not-found")
    checked(
        await ada.request("PATCH", f"/users/{ada.id}", json=CONFIRMED | {"email": bob.user["email"]}),
        409,
        "email-taken",
    )
    checked(await ada.request("PATCH", f"/users/{ada.id}", {"If-Match": '"7"'}, json={}), 412, "version-mismatch")
    checked(await ada.request("PATCH", f"/users/{ada.id}", {"If-Match": "x"}, json={}), 412, "version-mismatch")
    checked(await ada.get("/events", {"Last-Event-ID": "x"}), 422, "invalid-request")
    checked(await (await store.admin()).pay(userId=str(uuid4())), 422, "unknown-user")


async def test_internal_error_reveals_nothing(store: Store) -> None:
    @store.app.api.get("/explode")
    async def explode() -> None:
        raise RuntimeError("a secret at 127.0.0.1")

    checked(await store.http.get("/explode"), 500, "internal-error")


async def test_unavailable_service_is_reported_at_once(store: Store) -> None:
    ada = await store.sign_up()
    async with store.outages.away("users"):
        for response in (
            await ada.get("/users/me"),
            await store.http.post("/users", json={"email": new_email(), "password": PASSWORD}),
            await store.http.post("/auth/sessions", json={"email": "a", "password": "b"}),
        ):
            problem = checked(response, 503, "service-unavailable")
            assert problem["detail"] == "The users service is unavailable."
            assert response.headers["retry-after"] == "1"
        # Services that are available still serve, and the cached keys are returned.
        assert (await ada.get("/payments")).status_code == 200
        assert (await store.http.get("/.well-known/jwks.json")).status_code == 200


async def test_silent_service_has_an_unknown_outcome(store: Store) -> None:
    ada = await store.sign_up()
    payment = await ada.paid()
    async with store.outages.silent("payments") as http:
        headers = {"Authorization": f"Bearer {ada.token}"}
        problem = checked(await http.get(f"/payments/{payment['id']}", headers=headers), 504, "outcome-unknown")
        assert problem["detail"].startswith("The answer did not arrive in time. Nothing was changed")
        body = {"amount": 1999}
        accepted = await http.post("/payments", headers=headers | {"Idempotency-Key": new_key()}, json=body)
        assert accepted.status_code == 202  # the queue is available
    await ada.recorded(accepted.json()["id"])
