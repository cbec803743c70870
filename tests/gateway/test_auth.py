"""Tokens over HTTP."""

import time
from uuid import uuid4

import httpx
import pytest
from jose import jwt

from kit.tokens import Verifier
from tests.support.store import Caller, Store
from tests.support.users_harness import PASSWORD, new_email

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def ask(store: Store, **form: str) -> httpx.Response:
    return await store.http.post("/auth/token", data=form)


async def test_an_email_and_a_password_give_a_token(store: Store) -> None:
    ada = await store.sign_up()
    answer = await ask(store, grant_type="password", username=ada.user["email"].upper(), password=PASSWORD, scope="x")
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    tokens = answer.json()
    assert set(tokens) == {"access_token", "token_type", "expires_in"}
    assert (tokens["token_type"], tokens["expires_in"]) == ("Bearer", 900)
    keys = (await store.http.get("/.well-known/jwks.json")).json()["keys"]
    claims = Verifier({key["kid"]: key for key in keys}).verify(tokens["access_token"])
    assert (str(claims.sub), claims.role) == (ada.id, "user")


async def test_unknown_wrong_and_disabled_are_one_answer(store: Store) -> None:
    ada, bob, admin = await store.sign_up(), await store.sign_up(), await store.admin()
    await admin.ask("PATCH", f"/users/{bob.id}", json={"disabled": True})
    answers = [
        await ask(store, grant_type="password", username=username, password=password)
        for username, password in (
            (ada.user["email"], "wrong"),
            (bob.user["email"], PASSWORD),
            (new_email(), PASSWORD),
            ("no email", PASSWORD),
            ("nul\0", PASSWORD),
        )
    ]
    bodies = [answer.json() | {"requestId": None} for answer in answers]
    assert {answer.status_code for answer in answers} == {400}
    assert (bodies[0]["error"], bodies[0]["code"]) == ("invalid_grant", "invalid_grant")
    assert all(body == bodies[0] for body in bodies)
    assert all(answer.headers["cache-control"] == "no-store" for answer in answers)


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({}, "invalid_request"),
        ({"grant_type": "password"}, "invalid_request"),
        ({"grant_type": "password", "username": "ada@example.com"}, "invalid_request"),
        ({"grant_type": "password", "password": PASSWORD}, "invalid_request"),
        ({"grant_type": "password", "username": "", "password": PASSWORD}, "invalid_request"),
        ({"grant_type": "", "username": "ada@example.com", "password": PASSWORD}, "invalid_request"),
        ({"grant_type": "client_credentials"}, "unsupported_grant_type"),
    ],
)
async def test_a_grant_that_cannot_be_says_why_as_oauth_does(store: Store, form: dict[str, str], error: str) -> None:
    answer = await ask(store, **form)
    assert (answer.status_code, answer.json()["error"]) == (400, error)
    assert answer.json()["error_description"] == answer.json()["detail"]
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_token_is_asked_for_with_a_form(store: Store) -> None:
    answer = await store.http.post("/auth/token", json={"grant_type": "password"})
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


async def test_a_field_that_is_too_long_is_pointed_to(store: Store) -> None:
    answer = await ask(store, grant_type="password", username="x" * 1025, password="x" * 1025)
    assert answer.status_code == 422
    assert {error["pointer"] for error in answer.json()["errors"]} == {"/username", "/password"}


async def test_the_public_keys_may_be_kept(store: Store) -> None:
    answer = await store.http.get("/.well-known/jwks.json")
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "public, max-age=300"
    for key in answer.json()["keys"]:
        assert set(key) == {"kty", "crv", "alg", "use", "kid", "x", "y"}


async def test_without_a_token_one_is_asked_for(store: Store) -> None:
    for path in ("/users/me", "/users", f"/users/{uuid4()}", "/payments", f"/payments/{uuid4()}", "/events"):
        answer = await store.http.get(path)
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.headers["content-type"] == "application/problem+json"
    assert (await store.http.post("/payments", json={"amount": -1})).status_code == 401
    assert (await store.http.delete(f"/users/{uuid4()}")).status_code == 401


async def test_another_scheme_is_no_token(store: Store) -> None:
    answer = await store.http.get("/users/me", auth=("ada", PASSWORD))
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")


async def test_a_token_that_is_none_of_ours_is_refused(store: Store) -> None:
    ada = await store.sign_up()
    head, body, signature = ada.token.split(".")
    kid = jwt.get_unverified_header(ada.token)["kid"]
    claims = jwt.get_unverified_claims(ada.token)
    forged = jwt.encode(claims, "a guess", algorithm="HS256", headers={"kid": kid})
    for token in (
        "x",
        "a.b.c",
        f"{head}.{body}.",
        f"{head}.{body}.{'A' * len(signature)}",
        forged,
        f"{head}.{body}.{signature}" + "x" * 5000,
    ):
        answer = await Caller(store.http, ada.user, token).get("/users/me")
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized"), token
        assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'
    assert claims["exp"] > time.time()
