"""Tokens over HTTP."""

import time
from uuid import uuid4

import httpx
import pytest
from jose import jwt

from kit.tokens import Verifier
from tests.support.store import SignedInUser, Store
from tests.support.users_harness import PASSWORD, new_email

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def ask(store: Store, **form: str) -> httpx.Response:
    return await store.http.post("/auth/token", data=form)


async def test_email_and_password_give_a_token(store: Store) -> None:
    ada = await store.sign_up()
    response = await ask(store, grant_type="password", username=ada.user["email"].upper(), password=PASSWORD, scope="x")
    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-store"
    tokens = response.json()
    assert set(tokens) == {"access_token", "token_type", "expires_in", "refresh_token"}
    assert (tokens["token_type"], tokens["expires_in"]) == ("Bearer", 900)
    keys = (await store.http.get("/.well-known/jwks.json")).json()["keys"]
    claims = Verifier({key["kid"]: key for key in keys}).verify(tokens["access_token"])
    assert (str(claims.sub), claims.role) == (ada.id, "user")


async def test_unknown_wrong_and_disabled_get_one_response(store: Store) -> None:
    ada, bob, admin = await store.sign_up(), await store.sign_up(), await store.admin()
    await admin.request("PATCH", f"/users/{bob.id}", json={"disabled": True})
    responses = [
        await ask(store, grant_type="password", username=username, password=password)
        for username, password in (
            (ada.user["email"], "wrong"),
            (bob.user["email"], PASSWORD),
            (new_email(), PASSWORD),
            ("no email", PASSWORD),
            ("nul\0", PASSWORD),
        )
    ]
    bodies = [response.json() | {"requestId": None} for response in responses]
    assert {response.status_code for response in responses} == {400}
    assert (bodies[0]["error"], bodies[0]["code"]) == ("invalid_grant", "invalid_grant")
    assert all(body == bodies[0] for body in bodies)
    assert all(response.headers["cache-control"] == "no-store" for response in responses)


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
async def test_refused_grant_has_an_oauth_error(store: Store, form: dict[str, str], error: str) -> None:
    response = await ask(store, **form)
    assert (response.status_code, response.json()["error"]) == (400, error)
    assert response.json()["error_description"] == response.json()["detail"]
    assert response.headers["content-type"] == "application/problem+json"


async def test_token_request_must_be_a_form(store: Store) -> None:
    response = await store.http.post("/auth/token", json={"grant_type": "password"})
    assert (response.status_code, response.json()["error"]) == (400, "invalid_request")


async def test_too_long_field_is_named(store: Store) -> None:
    response = await ask(store, grant_type="password", username="x" * 1025, password="x" * 1025)
    assert response.status_code == 422
    assert {error["pointer"] for error in response.json()["errors"]} == {"/username", "/password"}


async def test_public_keys_are_cacheable(store: Store) -> None:
    response = await store.http.get("/.well-known/jwks.json")
    assert response.status_code == 200
    assert response.headers["cache-control"] == "public, max-age=300"
    for key in response.json()["keys"]:
        assert set(key) == {"kty", "crv", "alg", "use", "kid", "x", "y"}


async def test_request_without_token_is_challenged(store: Store) -> None:
    for path in ("/users/me", "/users", f"/users/{uuid4()}", "/payments", f"/payments/{uuid4()}", "/events"):
        response = await store.http.get(path)
        assert (response.status_code, response.json()["code"]) == (401, "unauthorized")
        assert response.headers["www-authenticate"] == "Bearer"
        assert response.headers["content-type"] == "application/problem+json"
    assert (await store.http.post("/payments", json={"amount": -1})).status_code == 401
    assert (await store.http.delete(f"/users/{uuid4()}")).status_code == 401


async def test_other_authentication_schemes_are_refused(store: Store) -> None:
    response = await store.http.get("/users/me", auth=("ada", PASSWORD))
    assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")


async def test_forged_token_is_refused(store: Store) -> None:
    ada = await store.sign_up()
    head, body, signature = ada.token.split(".")
    kid = jwt.get_unverified_header(ada.token)["kid"]
    claims = jwt.get_unverified_claims(ada.token)
    forged = jwt.encode(claims, "a guess", algorithm="HS256", headers={"typ": "at+jwt", "kid": kid})
    for token in (
        "x",
        "a.b.c",
        f"{head}.{body}.",
        f"{head}.{body}.{'A' * len(signature)}",
        forged,
        f"{head}.{body}.{signature}" + "x" * 5000,
    ):
        response = await SignedInUser(store.http, ada.user, token).get("/users/me")
        assert (response.status_code, response.json()["code"]) == (401, "unauthorized"), token
        assert response.headers["www-authenticate"] == 'Bearer error="invalid_token"'
    assert claims["exp"] > time.time()
