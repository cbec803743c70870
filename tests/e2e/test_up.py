"""`mkstore up` with the real services."""

import uuid

import httpx
import pytest

from tests.e2e.running import Running, eventually, running


def client(mkstore: Running) -> httpx.Client:
    return httpx.Client(base_url=mkstore.url, timeout=10, trust_env=False)


@pytest.mark.parametrize("name", ["gateway", "users", "payments"])
def test_every_service_says_that_it_is_ready(store: Running, name: str) -> None:
    url = store.record[name]["url"]
    for path in ("/health", "/health/live", "/health/ready"):
        assert httpx.get(url + path, timeout=10, trust_env=False).status_code == 200


def test_what_was_answered_is_there_after_every_part_was_killed() -> None:
    account = {"email": f"{uuid.uuid4()}@example.com", "password": "a long enough sentence"}
    login = {"grant_type": "password", "username": account["email"], "password": account["password"]}
    with running("--ephemeral", "--port", "0") as mkstore, client(mkstore) as http:
        created = http.post("/users", json=account)
        assert created.status_code == 201, created.text
        for name in mkstore.record:
            mkstore.kill_part(name)
        for name in mkstore.record:
            mkstore.wait_for(f"{name} is ready again", within=90)

        def signed_in() -> str:
            answer = http.post("/auth/token", data=login)
            return str(answer.json()["access_token"]) if answer.status_code == 200 else ""

        token = eventually(signed_in, or_else=lambda: http.post("/auth/token", data=login).text)
        me = http.get("/users/me", headers={"Authorization": f"Bearer {token}"})
        assert me.json() == created.json()
