"""The gateway while NATS is away: it lives, and says at once what is missing."""

from uuid import uuid4

from kit.errors import OutcomeUnknown, Unavailable
from tests.support.memory_store import in_memory
from tests.support.store import new_key
from tests.support.users_harness import PASSWORD, new_email


async def test_without_nats_everything_that_needs_it_says_so_at_once() -> None:
    async with in_memory() as store:
        ada, admin = await store.sign_up(), await store.admin()
        store.broker.connected = False
        form = {"grant_type": "password", "username": ada.user["email"], "password": PASSWORD}
        for answer in (
            await ada.get("/users/me"),
            await ada.get("/payments"),
            await ada.get(f"/payments/{uuid4()}"),
            await ada.pay(),
            await ada.pay(new_key()),
            await ada.pay(None, "wait=30"),
            await admin.pay(userId=ada.id),
            await ada.ask("PATCH", f"/users/{ada.id}", json={"name": "Ada"}),
            await ada.ask("DELETE", f"/users/{ada.id}"),
            await store.http.post("/users", json={"email": new_email(), "password": PASSWORD}),
            await store.http.post("/auth/token", data=form),
        ):
            assert (answer.status_code, answer.json()["code"]) == (503, "service-unavailable")
            assert answer.headers["retry-after"] == "1"
            assert answer.json()["detail"] == "The message broker is unavailable."
        store.broker.connected = True
        assert (await ada.get("/users/me")).json() == ada.user


async def test_without_nats_it_lives_and_does_not_work() -> None:
    async with in_memory() as store:
        store.broker.connected = False
        answer = await store.http.get("/health")
        assert (answer.status_code, answer.json()["status"]) == (503, "failed")
        assert answer.json()["checks"]["nats"]["reason"]
        assert (await store.http.get("/health/live")).status_code == 200


async def test_a_queue_that_is_full_or_late_is_said_so() -> None:
    async with in_memory() as store:
        ada = await store.sign_up()
        store.commands.refusal = Unavailable("payment queue")
        full = await ada.pay(new_key())
        assert (full.status_code, full.json()["detail"]) == (503, "The payment queue is unavailable.")
        store.commands.refusal = OutcomeUnknown("message broker")
        late = await ada.pay(new_key())
        assert (late.status_code, late.json()["code"]) == (504, "outcome-unknown")
