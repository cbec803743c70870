"""The gateway answers valid and invalid generated requests as its OpenAPI document says."""

import httpx
import pytest

from tests.support.http_client import PASSWORD, no_tracebacks, unused_email
from tests.support.running_store import Running


@pytest.fixture(scope="module")
def token(unlimited_store: Running) -> str:
    """Return the token of a user."""
    account = {"email": unused_email(), "password": PASSWORD}
    with httpx.Client(base_url=unlimited_store.url, timeout=15, trust_env=False) as http:
        assert http.post("/users", json=account).status_code == 201
        credentials = {"email": account["email"], "password": PASSWORD}
        return str(http.post("/auth/sessions", json=credentials).json()["accessToken"])


@pytest.mark.parametrize("mode", ["positive", "negative"])
@pytest.mark.parametrize("caller", ["a user", "anonymous"])
def test_answers_match_the_openapi_document(unlimited_store: Running, token: str, mode: str, caller: str) -> None:
    from tests.support.generated_requests import failed_operations  # noqa: PLC0415 - every worker imports this module

    headers = {"Authorization": f"Bearer {token}"} if caller == "a user" else {}
    with no_tracebacks(unlimited_store):
        assert failed_operations(unlimited_store.url, mode, headers) == []
