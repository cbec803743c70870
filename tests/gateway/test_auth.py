"""Tokens over HTTP."""

import time
from uuid import uuid4

import pytest
from jose import jwt

from tests.support.store import SignedInUser, Store
from tests.support.users_harness import PASSWORD

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_public_keys_are_cacheable(store: Store) -> None:
    response = await store.http.get("/.well-known/jwks.json")
    assert response.status_code == 200
    assert response.headers["cache-control"] == "public, max-age=240"
    again = await store.http.get("/.well-known/jwks.json", headers={"If-None-Match": response.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == response.headers["etag"]
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
