"""Rate limits per caller and address."""

from typing import Any

import httpx
import pytest

from apps.gateway.http.rate_limits import RateLimits
from apps.gateway.http.request_counters import MemoryCounter
from tests.support.memory_store import in_memory
from tests.support.sign_in import sign_in
from tests.support.users_harness import CONFIRMED, PASSWORD, new_email

OFF = {f"rate_limit_{name}": "100000/minute" for name in ("caller", "address", "sign_up", "session", "email_change")}


def limited(**limits: str) -> Any:
    """Return a store in which only these limits are low: per day, so that no test runs across the end of a window."""
    return in_memory(rate_limit_enabled=True, **OFF | {f"rate_limit_{name}": at for name, at in limits.items()})


def refused(response: httpx.Response, name: str, limit: int) -> bool:
    if response.status_code != 429:
        return False
    problem = response.json()
    assert (problem["code"], problem["status"]) == ("too-many-requests", 429)
    assert response.headers["content-type"] == "application/problem+json"
    wait = int(response.headers["retry-after"])
    assert 1 <= wait <= 86_400
    assert response.headers["ratelimit-policy"] == f'"{name}";q={limit};w=86400'
    assert response.headers["ratelimit"] == f'"{name}";r=0;t={wait}'
    return True


async def test_caller_limit_counts_down_in_the_headers() -> None:
    async with limited(caller="3/day") as store:
        ada, bob = await store.sign_up(), await store.sign_up()
        for left in (2, 1, 0):
            response = await ada.get("/users/me")
            assert response.status_code == 200
            assert response.headers["ratelimit-policy"] == '"caller";q=3;w=86400'
            assert response.headers["ratelimit"].startswith(f'"caller";r={left};t=')
        assert refused(await ada.get("/users/me"), "caller", 3)
        assert refused(await ada.pay(), "caller", 3)
        assert (await bob.get("/users/me")).status_code == 200


async def test_address_limit_counts_all_callers() -> None:
    async with limited(address="5/day") as store:
        for _ in range(5):
            assert (await store.http.get("/.well-known/jwks.json")).status_code == 200
        assert refused(await store.http.get("/.well-known/jwks.json"), "address", 5)
        assert refused(await store.http.get("/users/me"), "address", 5)


@pytest.mark.parametrize("path", ["/users", "/auth/sessions", "/payments", "/nothing"])
async def test_address_limit_counts_before_the_body_is_read(path: str) -> None:
    """A request whose body is invalid counts, once, and above the limit its body is not even looked at."""
    async with limited(address="2/day") as store:
        json = {"Content-Type": "application/json"}
        for _ in range(2):
            assert (await store.http.post(path, content=b"{", headers=json)).status_code in {400, 404, 422}
        assert refused(await store.http.post(path, content=b"{", headers=json), "address", 2)
        assert refused(await store.http.post(path, content=b"x" * (1 << 20), headers=json), "address", 2)


async def test_health_probes_are_not_limited() -> None:
    async with limited(address="1/day") as store:
        for _ in range(3):
            for path in ("/health", "/health/live", "/health/ready"):
                assert (await store.http.get(path)).status_code == 200


async def test_sign_ups_per_address_are_limited() -> None:
    async with limited(sign_up="2/day") as store:
        for left in (1, 0):
            response = await store.http.post("/users", json={"email": new_email(), "password": PASSWORD})
            assert response.status_code == 201
            assert response.headers["ratelimit"].startswith(f'"sign_up";r={left};t=')
        response = await store.http.post("/users", json={"email": new_email(), "password": PASSWORD})
        assert refused(response, "sign_up", 2)


async def test_sign_ins_per_address_are_limited() -> None:
    async with limited(session="2/day") as store:
        assert (await sign_in(store, new_email())).status_code == 401
        assert (await sign_in(store, new_email())).status_code == 401
        assert refused(await sign_in(store, new_email()), "session", 2)
        assert (await sign_in(store, new_email(), address="10.0.0.2")).status_code == 401


@pytest.mark.parametrize(
    ("path", "name"), [("/users", "sign_up"), ("/auth/sessions", "session"), ("/auth/sessions/refresh", "session")]
)
async def test_sign_up_and_sign_in_count_before_the_body_is_read(path: str, name: str) -> None:
    """Invalid bodies count, once, and above the limit not even the size of a body is looked at."""
    async with limited(**{name: "2/day"}) as store:
        json = {"Content-Type": "application/json"}
        for left in (1, 0):
            response = await store.http.post(path, content=b"{", headers=json)
            assert response.status_code in {400, 422}
            assert response.headers["ratelimit"].startswith(f'"{name}";r={left};t=')
        assert refused(await store.http.post(path, content=b"{", headers=json), name, 2)
        assert refused(await store.http.post(path, content=b"x" * (1 << 20), headers=json), name, 2)


async def test_other_methods_do_not_count_as_sign_up() -> None:
    async with limited(sign_up="2/day", session="2/minute") as store:
        ada = await store.sign_up()
        for path in ("/users", "/auth/sessions"):
            for _ in range(3):
                assert (await ada.request("GET", path, content=b"{}")).status_code in {200, 403}
        await store.sign_up()


async def test_email_changes_per_caller_are_limited() -> None:
    async with limited(email_change="2/day") as store:
        ada, bob = await store.sign_up(), await store.sign_up()
        for _ in range(2):
            response = await ada.request("PATCH", f"/users/{ada.id}", json=CONFIRMED | {"email": bob.user["email"]})
            assert response.status_code == 409
        assert refused(
            await ada.request("PATCH", f"/users/{ada.id}", json=CONFIRMED | {"email": new_email()}), "email_change", 2
        )
        assert (await ada.request("PATCH", f"/users/{ada.id}", json={"name": "Ada"})).status_code == 200
        assert (
            await bob.request("PATCH", f"/users/{bob.id}", json=CONFIRMED | {"email": new_email()})
        ).status_code == 200


async def test_addresses_of_one_network_share_one_limit() -> None:
    async with limited(session="2/day") as store:
        for host in ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2"):
            assert (await sign_in(store, new_email(), address=host)).status_code == 401
        assert refused(await sign_in(store, new_email(), address="2001:db8:0:1::3"), "session", 2)
        assert (await sign_in(store, new_email(), address="2001:db8:0:2::1")).status_code == 401


async def test_disabled_limits_count_nothing() -> None:
    async with in_memory(rate_limit_enabled=False, **dict.fromkeys(OFF, "1/day")) as store:
        ada = await store.sign_up()
        for _ in range(3):
            response = await ada.get("/users/me")
            assert response.status_code == 200
            assert not [name for name in response.headers if name.startswith("ratelimit")]
    counter = MemoryCounter(1, 60)
    limits = RateLimits({"caller": counter}, enabled=False)
    await limits.hit("caller", "ada")
    assert counter.keys == 0
