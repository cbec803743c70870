"""Invalid input in every part of a request is refused with a 4xx problem and breaks nothing."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from tests.support.http_client import (
    PASSWORD,
    Caller,
    assert_problem,
    calling,
    no_tracebacks,
    say,
    sign_up,
    unused_email,
)
from tests.support.invalid_payments import AMOUNTS, BODIES, OTHER_FIELDS, each
from tests.support.jwt_forgery import forged
from tests.support.running_store import Running

MIB = 1 << 20
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def account(unlimited_store: Running) -> Caller:
    """Return the user of all tests in this module."""

    async def register() -> Caller:
        async with calling(unlimited_store, request_timeout=30) as http:
            return await sign_up(http)

    return asyncio.run(register())


@pytest.fixture
async def ada(unlimited_store: Running, account: Caller) -> AsyncIterator[Caller]:
    """Return a signed-in caller; after the test it must still be able to pay, and no log may have a stack trace."""

    async def listed() -> list[Any]:
        return list((await caller("GET", "/payments?limit=100")).json()["data"])

    with no_tracebacks(unlimited_store):
        async with calling(unlimited_store, request_timeout=30) as http:
            caller = replace(account, http=http)
            before = await listed()
            yield caller
            payment = await caller.paid()
            assert await listed() == [payment, *before][:100], "an invalid request created a payment"


def refused(answer: httpx.Response, what: object) -> None:
    assert 400 <= answer.status_code < 500, f"{str(what)[:300]}: {answer.status_code} {answer.text[:500]}"
    try:
        assert_problem(answer)
    except Exception as error:
        raise AssertionError(f"{str(what)[:300]}: {error!r}") from error


async def test_invalid_payment_fields_are_refused_with_their_pointers(ada: Caller) -> None:
    bodies = [f'{{"amount": {amount}}}'.encode() for amount in AMOUNTS]
    bodies += [json.dumps({"amount": 1} | fields).encode() for fields in OTHER_FIELDS]
    for body in bodies:
        refused(await ada("POST", "/payments", content=body, headers=JSON), body)
    answer = await ada("POST", "/payments", json={"amount": True, "metadata": {"a/b": 1}})
    assert {error["pointer"] for error in answer.json()["errors"]} == {"/amount", "/metadata/a~1b"}
    say(f"{len(bodies)} bodies refused")


@pytest.mark.parametrize("name", BODIES)
async def test_malformed_json_bodies_are_refused(ada: Caller, name: str) -> None:
    for method, path in (("POST", "/payments"), ("POST", "/users"), ("PATCH", f"/users/{ada.id}")):
        refused(await ada(method, path, content=BODIES[name], headers=JSON), (method, path, name))
    refused(await ada("PUT", f"/users/{ada.id}/password", content=BODIES[name], headers=JSON), name)


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /health HTTP/1.1\r\nHost: x\r\nX-Name: a\x01b\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\nX-Request-Id: a\0b\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\nno header\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /health HTTP/9.9\r\nHost: x\r\n\r\n",
        b"POST /payments HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"hello\r\n\r\n",
    ],
)
async def test_malformed_http_is_refused_with_a_problem(ada: Caller, request_: bytes) -> None:
    reader, writer = await asyncio.open_connection(ada.http.base_url.host, ada.http.base_url.port)
    writer.write(request_)
    async with asyncio.timeout(10):
        received = await reader.read()  # to the end: the connection is closed
    writer.close()
    head, body = received.split(b"\r\n\r\n", 1)
    status, *fields = head.decode().split("\r\n")
    headers = {name.lower(): value for name, value in (field.split(": ", 1) for field in fields)}
    assert status == "HTTP/1.1 400 Bad Request"
    assert headers["connection"] == "close"
    assert_problem(httpx.Response(400, headers=headers, content=body), 400, "malformed-request")


async def test_body_over_the_limit_is_refused_whole_and_chunked(ada: Caller) -> None:
    large = b'{"amount": 1, "metadata": {"a": "' + b"x" * (10 * MIB) + b'"}}'

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(large), 1 << 16):
            yield large[start : start + (1 << 16)]
            await asyncio.sleep(0)

    for path in ("/payments", "/users", "/auth/sessions"):
        for content in (large, chunks()):
            assert_problem(await ada("POST", path, content=content, headers=JSON), 413, "body-too-large")
    just_too_large = b'{"amount": 1' + b" " * MIB + b"}"
    assert_problem(await ada("POST", "/payments", content=just_too_large, headers=JSON), 413)


@pytest.mark.parametrize(
    "kind",
    ["", "text/plain", "application/xml", "application/x-www-form-urlencoded", "multipart/form-data", "\xff", "/"],
)
async def test_other_content_types_are_refused(ada: Caller, kind: str) -> None:
    for body in (b'{"amount": 1}', b"amount=1", b"<amount>1</amount>"):
        refused(await ada("POST", "/payments", content=body, headers={"Content-Type": kind}), (kind, body))


async def test_forged_tokens_are_refused(ada: Caller) -> None:
    public = (await ada.http.get("/.well-known/jwks.json")).json()["keys"][0]
    tokens = forged(ada.token, public)
    for name, token in tokens.items():
        for path in ("/users/me", "/payments", "/events"):
            answer = await ada("GET", path, headers={"Authorization": f"Bearer {token}"})
            refused(answer, name)
            assert (answer.status_code, "WWW-Authenticate" in answer.headers) == (401, True), name
    for field in ("", "Bearer", "Basic YTpi", f"Basic {ada.token}", ada.token, f"Bearer {ada.token} x", "\xff"):
        answer = await ada("GET", "/users/me", headers={"Authorization": field})
        assert_problem(answer, 401)
    say(f"{len(tokens)} forged tokens refused")


async def test_malformed_and_foreign_ids_are_refused(ada: Caller) -> None:
    other = await sign_up(ada.http)
    foreign_payment = (await other.paid())["id"]
    for bad in ("x", "1", "%00", "%ff", "%ed%a0%80", "null", "{}", "0" * 5000, f"{ada.id}x", "..%2f..%2fetc", "'--"):
        refused(await ada("GET", f"/payments/{bad}"), bad)
        for method in ("GET", "PATCH", "DELETE"):
            more = {"json": {"name": "x"}} if method == "PATCH" else {}
            refused(await ada(method, f"/users/{bad}", **more), (method, bad))
    for unknown in (foreign_payment, str(uuid.uuid4()), str(uuid.UUID(int=0)), other.id):
        assert_problem(await ada("GET", f"/payments/{unknown}"), 404)


async def test_invalid_query_parameters_are_refused(ada: Caller) -> None:
    await (await sign_up(ada.http)).paid()
    queries = [f"cursor={bad}" for bad in ("", "x", "%00", "%ed%a0%80", "%ff", "B", "A" * 201, "====", "null")]
    queries += [f"limit={bad}" for bad in ("0", "-1", "101", "x", "", "1.5", "1e1", "%00", "9" * 5000, "true", "%ff")]
    queries += [f"userId={bad}" for bad in ("x", "", "%00", "%ed%a0%80", str(uuid.uuid4()))]
    queries += [f"status={bad}" for bad in ("x", "", "Created", "%00", "%ff")]
    for query in queries:
        refused(await ada("GET", f"/payments?{query}"), query)
    refused(await ada("GET", "/users?limit=x"), "/users?limit=x")


async def test_invalid_headers_are_refused_or_ignored(ada: Caller) -> None:
    body = {"json": {"amount": "x"}}
    for key in ("", "k" * 256, "\xff", "\xed\xa0\x80", "schlüssel", "a\tb", "k" * 50_000):
        refused(await ada("POST", "/payments", json={"amount": 1}, headers={"Idempotency-Key": key}), key)
    for tag in (
        '"0"',
        '"99999999999999999999"',
        "x",
        '"x"',
        'W/"1"',
        '"',
        '""',
        '"-1"',
        "",
        "\xff",
        '"1' + "0" * 20_000,
    ):
        answer = await ada("PATCH", f"/users/{ada.id}", json={"name": "x"}, headers={"If-Match": tag})
        assert_problem(answer, 412)
    for name in ("Prefer", "X-Request-Id", "traceparent", "Accept", "If-None-Match", "Cookie", "X-Forwarded-For"):
        for value in ("", "\xff\xfe", "\xed\xa0\x80", "wait=9" * 9, "wait=" + "9" * 4000, "x" * 20_000):
            answer = await ada("POST", "/payments", headers={name: value}, **body)
            refused(answer, (name, value))
            assert answer.status_code == 422, (name, value, answer.text)


async def test_invalid_users_are_refused(ada: Caller) -> None:
    good = {"email": unused_email(), "password": PASSWORD}
    emails: tuple[object, ...] = (
        "",
        "x",
        "x@",
        "@x",
        "a@b",
        "a b@example.com",
        "\0@example.com",
        f"{'a' * 300}@example.com",
        1,
        None,
        [],
        {},
    )
    users: list[dict[str, Any]] = [good | {"email": bad} for bad in emails]
    users += [
        good | bad for bad in each("password", "", "short", "x" * 129, 12345678, None, [], "password", "12345678")
    ]
    users += [good | bad for bad in each("name", "", "x" * 201, "\0", 1, [], {})]
    users += [good | {"role": "admin"}, good | {"id": str(uuid.uuid4())}, {}, {"email": good["email"]}]
    for user in users:
        refused(await ada.http.post("/users", json=user), user)
    for field in ("email", "password", "name"):
        raw = json.dumps(good | {field: "\ud800xxxxxxxxxx@example.com"}).encode()
        refused(await ada.http.post("/users", content=raw, headers=JSON), raw)
    changes: tuple[dict[str, Any], ...] = (
        *({"name": bad} for bad in ("", "\0", 1)),
        *({"email": bad} for bad in ("", None, "x")),
        *({"role": bad} for bad in ("admin", "king", None)),
        {"disabled": "x"},
        {"disabled": None},
        {"disabled": True},
        {"password": PASSWORD},
        {"version": 1},
    )
    for change in changes:
        refused(await ada("PATCH", f"/users/{ada.id}", json=change), change)
    assert_problem(await ada.http.post("/users", json=good | {"email": ada.email.upper()}), 409)


async def test_invalid_sign_ins_are_refused(ada: Caller) -> None:
    good: dict[str, Any] = {"email": ada.email, "password": PASSWORD}
    bodies: list[dict[str, Any]] = [
        {},
        {"grant_type": "password", "username": ada.email, "password": PASSWORD},
        *(good | {"email": bad} for bad in ("", "\0", "x", "x" * 2000, "\ufffd", f"{ada.email}\0", None, 1)),
        *(good | {"password": bad} for bad in ("", "\0", "x", "x" * 2000, PASSWORD.upper(), f"{PASSWORD}\0", None)),
        *({name: value for name, value in good.items() if name != missing} for missing in good),
    ]
    for bad in bodies:
        refused(await ada.http.post("/auth/sessions", json=bad), bad)
    for bad_token in ("", "x", "\0", "x" * 2000, "A" * 75, None, 1):
        refused(await ada.http.post("/auth/sessions/refresh", json={"refreshToken": bad_token}), bad_token)


async def test_unknown_paths_and_methods_are_refused(ada: Caller) -> None:
    for path in (
        "/%00",
        "/%ff",
        "/payments/",
        "/%2Fpayments",
        "/users/me/x",
        "/asyncapi/x",
        "/asyncapi/..%2fx.json",
        "/" + "x" * 20_000,
    ):
        refused(await ada("GET", path), path)
    for method in ("TRACE", "OPTIONS", "PUT", "HEAD", "X" * 20):
        answer = await ada.http.request(method, "/payments")
        assert 400 <= answer.status_code < 500, (method, answer.status_code)
