"""The gateway without NATS: it stays alive and refuses at once."""

from uuid import uuid4

from kit.errors import NATS, OutcomeUnknown, Unavailable
from tests.support.memory_store import in_memory
from tests.support.store import new_key
from tests.support.users_harness import CONFIRMED, PASSWORD, new_email


async def test_every_route_is_unavailable_without_nats() -> None:
    async with in_memory() as store:
        ada, admin = await store.sign_up(), await store.admin()
        store.broker.connected, store.queue.refusal = False, Unavailable(NATS)
        credentials = {"email": ada.user["email"], "password": PASSWORD}
        for response in (
            await ada.get("/users/me"),
            await ada.get("/payments"),
            await ada.get(f"/payments/{uuid4()}"),
            await ada.pay(),
            await ada.pay(new_key()),
            await ada.pay(None, "wait=30"),
            await admin.pay(userId=ada.id),
            await ada.request("PATCH", f"/users/{ada.id}", json={"name": "Ada"}),
            await ada.request("DELETE", f"/users/{ada.id}", json=CONFIRMED),
            await store.http.post("/users", json={"email": new_email(), "password": PASSWORD}),
            await store.http.post("/auth/sessions", json=credentials),
        ):
            assert (response.status_code, response.json()["code"]) == (503, "service-unavailable")
            assert response.headers["retry-after"] == "1"
            assert response.json()["detail"] == "The message broker is unavailable."
        store.broker.connected, store.queue.refusal = True, None
        assert (await ada.get("/users/me")).json() == ada.user


async def test_gateway_is_alive_but_not_ready_without_nats() -> None:
    async with in_memory() as store:
        store.broker.connected, store.queue.refusal = False, Unavailable(NATS)
        response = await store.http.get("/health")
        assert (response.status_code, response.json()["status"]) == (503, "failed")
        assert response.json()["checks"]["nats"]["reason"]
        assert (await store.http.get("/health/live")).status_code == 200


async def test_full_or_late_queue_is_reported() -> None:
    async with in_memory() as store:
        ada = await store.sign_up()
        store.queue.refusal = Unavailable("payment queue")
        full = await ada.pay(new_key())
        assert (full.status_code, full.json()["detail"]) == (503, "The payment queue is unavailable.")
        store.queue.refusal = OutcomeUnknown("message broker")
        late = await ada.pay(new_key())
        assert (late.status_code, late.json()["code"]) == (504, "outcome-unknown")
