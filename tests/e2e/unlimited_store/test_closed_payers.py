"""A user is deleted or disabled while payments of that user wait."""

import signal

from tests.support.http_client import PASSWORD, assert_problem, calling, sign_up, sign_up_admin
from tests.support.polling import eventually
from tests.support.running_store import Running
from tests.support.stored_data import event_ids, rows, wait_until_idle

COUNT = 10


async def test_waiting_payments_of_a_deleted_payer_are_recorded_once(unlimited_store: Running) -> None:
    async with calling(unlimited_store) as http:
        ada, eve = await sign_up(http), await sign_up(http)
        paid = await ada.paid()
        unlimited_store.send("payments", signal.SIGSTOP)  # commands that are sent from now on wait
        waiting = [(await person.pay()).json()["id"] for _ in range(COUNT) for person in (ada, eve)]
        assert (await ada("DELETE", f"/users/{ada.id}", json={"currentPassword": PASSWORD})).status_code == 204
        unlimited_store.kill("payments")
        await unlimited_store.wait_until_recovered()
        await wait_until_idle(unlimited_store)
        query = "SELECT id::text, user_id::text, status, reason FROM payments WHERE user_id = ANY($1::uuid[])"
        stored = await rows(unlimited_store, "payments_db", query, [ada.id, eve.id])
        assert sorted(row["id"] for row in stored) == sorted([paid["id"], *waiting])
        states = {(row["user_id"] == ada.id, row["status"], row["reason"]) for row in stored}
        # The command and the event may be consumed in either order; the payer existed when the payment was accepted.
        assert states <= {(True, "created", None), (True, "rejected", "payer-closed"), (False, "created", None)}
        events = await event_ids(unlimited_store, "PAYMENT_EVENTS")
        assert all(len(events[payment]) == 1 for payment in waiting)


async def test_payments_for_a_disabled_user_are_rejected_until_enabled(unlimited_store: Running) -> None:
    async with calling(unlimited_store) as http:
        admin, ada = await sign_up_admin(http, unlimited_store), await sign_up(http)

        async def reason() -> str | None:
            order = {"amount": 1999, "userId": ada.id}
            answer = await admin("POST", "/payments", json=order, headers={"Prefer": "wait=20"})
            assert answer.status_code == 201, answer.text
            return str(answer.json().get("reason"))

        async def is_rejected() -> bool:
            return await reason() == "payer-closed"

        async def is_created() -> bool:
            return await reason() == "None"

        assert (await admin("PATCH", f"/users/{ada.id}", json={"disabled": True})).status_code == 200
        await eventually(is_rejected)
        assert_problem(await ada.pay(), 401)  # the gateway refuses the user's own tokens as well
        assert (await admin("PATCH", f"/users/{ada.id}", json={"disabled": False})).status_code == 200
        await eventually(is_created)
