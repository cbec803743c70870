"""Cross-origin requests: refused by default, allowed for the origins of the settings, also on refusals."""

from tests.support.memory_store import in_memory

ORIGIN = "https://shop.example"
PREFLIGHT = {
    "Origin": ORIGIN,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization, content-type, idempotency-key",
}


async def test_no_origin_is_allowed_by_default() -> None:
    async with in_memory() as store:
        preflight = await store.http.options("/payments", headers=PREFLIGHT)
        answer = await store.http.get("/health/live", headers={"Origin": ORIGIN})
        for response in (preflight, answer):
            assert not [name for name in response.headers if name.startswith("access-control-")]
        assert preflight.status_code == 405


async def test_origins_of_the_settings_are_allowed() -> None:
    async with in_memory(cors_origins=f"https://other.example, {ORIGIN}") as store:
        preflight = await store.http.options("/payments", headers=PREFLIGHT)
        assert preflight.status_code == 200
        assert preflight.headers["access-control-allow-origin"] == ORIGIN
        assert preflight.headers["x-request-id"]
        too_large = await store.http.post("/users", headers={"Origin": ORIGIN}, content=b"x" * 20_000)
        refused = await store.http.get("/users/me", headers={"Origin": ORIGIN})
        for response, status in ((too_large, 413), (refused, 401)):
            assert response.status_code == status
            assert response.headers["access-control-allow-origin"] == ORIGIN
            assert "Retry-After" in response.headers["access-control-expose-headers"]
        foreign = await store.http.get("/users/me", headers={"Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in foreign.headers
