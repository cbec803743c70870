"""Requests that a client has misspelled are refused and named; what HTTP says about HEAD and 204 holds."""

import pytest

from tests.support.store import Store
from tests.support.users_harness import PASSWORD

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [("GET", "/payments?lmit=1", "lmit"), ("GET", "/users/me?fields=id", "fields"), ("POST", "/users?x=1", "x")],
)
async def test_unknown_query_parameter_is_refused_and_named(store: Store, method: str, path: str, name: str) -> None:
    ada = await store.sign_up()
    response = await ada.request(method, path, json={} if method == "POST" else None)
    problem = response.json()
    assert (response.status_code, problem["code"]) == (422, "invalid-request")
    (error,) = problem["errors"]
    assert (error["pointer"], error["code"]) == (f"/query/{name}", "unknown_parameter")


async def test_unknown_parameter_names_those_that_there_are(store: Store) -> None:
    ada = await store.sign_up()
    (error,) = (await ada.request("GET", "/payments?status=created&lmit=1")).json()["errors"]
    assert error["message"] == "Unknown parameter: there are cursor, limit, status, userId."


@pytest.mark.parametrize("status", ["pending", "paid"])
async def test_status_that_no_listed_payment_has_is_refused(store: Store, status: str) -> None:
    ada = await store.sign_up()
    response = await ada.request("GET", f"/payments?status={status}")
    assert (response.status_code, response.json()["errors"][0]["pointer"]) == (422, "/query/status")


async def test_duplicate_name_in_a_body_is_named(store: Store) -> None:
    body = b'{"email": "a", "a\\"b": 1, "a\\"b": 2}'
    response = await store.http.post("/users", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 422
    (error,) = response.json()["errors"]
    assert (error["pointer"], error["code"]) == ("", "duplicate-key")
    assert error["message"] == 'The name "a\\"b" stands more than once in an object of the body.'


@pytest.mark.parametrize("path", ["/users/me", "/payments", "/health", "/openapi.json", "/docs", "/asyncapi", "/"])
async def test_head_is_a_get_without_its_body(store: Store, path: str) -> None:
    ada = await store.sign_up()
    got, head = await ada.request("GET", path), await ada.request("HEAD", path)
    assert (head.status_code, head.content) == (got.status_code, b"")
    assert head.headers.get("content-type") == got.headers.get("content-type")


async def test_event_stream_has_no_head(store: Store) -> None:
    ada = await store.sign_up()
    response = await ada.request("HEAD", "/events")
    assert (response.status_code, response.headers["allow"]) == (405, "GET")


async def test_root_leads_to_the_documentation(store: Store) -> None:
    response = await store.http.get("/", follow_redirects=False)
    assert (response.status_code, response.headers["location"]) == (307, "/docs")


async def test_204_has_no_content_type(store: Store) -> None:
    ada = await store.sign_up()
    changed = {"currentPassword": PASSWORD, "newPassword": "staple of another colour"}
    response = await ada.request("PUT", "/users/me/password", json=changed)
    assert response.status_code == 204
    assert not {"content-type", "content-length"} & response.headers.keys()
