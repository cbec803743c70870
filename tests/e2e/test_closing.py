"""A user goes while payments wait: each of them is recorded once, and what is recorded is right."""

import os
import signal

from tests.support.http_client import assert_problem, calling, sign_up, sign_up_admin
from tests.support.polling import eventually
from tests.support.recovery import wait_until_replaced
from tests.support.running_store import Running
from tests.support.store_audit import event_ids, rows, wait_until_settled

COUNT = 30


async def test_what_waits_when_its_payer_goes_is_recorded_once_as_created_or_as_rejected(battered: Running) -> None:
    async with calling(battered) as http:
        ada, eve = await sign_up(http), await sign_up(http)
        paid = await ada.paid()
        payments = battered.record["payments"]["pid"]
        os.kill(payments, signal.SIGSTOP)  # what is ordered now waits
        waiting = [(await person.pay()).json()["id"] for _ in range(COUNT) for person in (ada, eve)]
        assert (await ada("DELETE", f"/users/{ada.id}")).status_code == 204
        os.kill(payments, signal.SIGKILL)
        await wait_until_replaced(battered, "payments", payments)
        await wait_until_settled(battered)
        query = "SELECT id::text, user_id::text, status, reason FROM payments WHERE user_id = ANY($1::uuid[])"
        found = await rows(battered, "payments_db", query, [ada.id, eve.id])
        assert sorted(row["id"] for row in found) == sorted([paid["id"], *waiting])
        states = {(row["user_id"] == ada.id, row["status"], row["reason"]) for row in found}
        # Whichever comes first, the command or the event: the payer was there when the payment was accepted.
        assert states <= {(True, "created", None), (True, "rejected", "payer-closed"), (False, "created", None)}
        told = await event_ids(battered, "PAYMENT_EVENTS")
        assert all(len(told[payment]) == 1 for payment in waiting)


async def test_what_an_admin_orders_for_somebody_who_is_disabled_is_rejected_until_that_is_taken_back(
    battered: Running,
) -> None:
    async with calling(battered) as http:
        admin, ada = await sign_up_admin(http, battered), await sign_up(http)

        async def reason() -> str | None:
            order = {"amount": 1999, "userId": ada.id}
            answer = await admin("POST", "/payments", json=order, headers={"Prefer": "wait=20"})
            assert answer.status_code == 201, answer.text
            return str(answer.json().get("reason"))

        assert (await admin("PATCH", f"/users/{ada.id}", json={"disabled": True})).status_code == 200

        async def is_rejected() -> bool:
            return await reason() == "payer-closed"

        async def is_created() -> bool:
            return await reason() == "None"

        await eventually(is_rejected)
        assert_problem(await ada.pay(), 401)  # the gateway takes no more tokens of hers, as before
        assert (await admin("PATCH", f"/users/{ada.id}", json={"disabled": False})).status_code == 200
        await eventually(is_created)
