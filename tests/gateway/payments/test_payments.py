"""Payments over HTTP."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from tests.support.payments_harness import LIMIT as PAYMENT_LIMIT
from tests.support.store import Store, new_key
from tests.support.users_harness import CONFIRMED

pytestmark = pytest.mark.asyncio(loop_scope="module")


def problem(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


async def test_payment_is_accepted_then_recorded(store: Store) -> None:
    ada = await store.sign_up()
    response = await ada.pay(amount=1999, currency="JPY", metadata={"order": "A-1"})
    assert response.status_code == 202
    accepted = response.json()
    assert response.headers["location"] == f"/payments/{accepted['id']}"
    assert "idempotent-replayed" not in response.headers
    assert "preference-applied" not in response.headers
    assert accepted == {
        "id": accepted["id"],
        "userId": ada.id,
        "amount": 1999,
        "currency": "JPY",
        "metadata": {"order": "A-1"},
        "status": "pending",
        "createdAt": accepted["createdAt"],
    }
    assert accepted["createdAt"].endswith("Z")
    assert UUID(accepted["id"]).version == 7
    assert await ada.recorded(accepted["id"]) == accepted | {"status": "created"}


async def test_defaults_are_caller_usd_and_no_metadata(store: Store) -> None:
    ada = await store.somebody()
    accepted = (await ada.request("POST", "/payments", json={"amount": 1})).json()
    assert (accepted["userId"], accepted["currency"], accepted["metadata"]) == (ada.id, "USD", {})
    assert (await ada.pay(userId=ada.id)).status_code == 202


async def test_payment_over_the_limit_is_rejected(store: Store) -> None:
    ada = await store.sign_up()
    payment = await ada.paid(amount=PAYMENT_LIMIT + 1)
    assert (payment["status"], payment["reason"]) == ("rejected", "amount-over-limit")
    waited = await ada.pay(None, "wait=30", amount=PAYMENT_LIMIT + 1)
    assert (waited.status_code, waited.json()["status"]) == (201, "rejected")


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"amount": None}, "/amount"),
        ({"amount": 0}, "/amount"),
        ({"amount": -1}, "/amount"),
        ({"amount": 2**53}, "/amount"),
        ({"amount": True}, "/amount"),
        ({"amount": "1999"}, "/amount"),
        ({"amount": 19.99}, "/amount"),
        ({"amount": 1999.0}, "/amount"),
        ({"currency": "usd"}, "/currency"),
        ({"currency": "XYZ"}, "/currency"),
        ({"currency": None}, "/currency"),
        ({"metadata": {str(n): "" for n in range(51)}}, "/metadata"),
        ({"metadata": {"x" * 41: ""}}, f"/metadata/{'x' * 41}"),
        ({"metadata": {"order": "x" * 501}}, "/metadata/order"),
        ({"metadata": {"order": 1}}, "/metadata/order"),
        ({"metadata": {"order": "A\u0000"}}, "/metadata/order"),
        ({"metadata": {"lines[0]": "A"}}, "/metadata/lines[0]"),
        ({"metadata": []}, "/metadata"),
        ({"userId": "me"}, "/userId"),
        ({"userId": None}, "/userId"),
        ({"user_id": str(UUID(int=1))}, "/user_id"),
        ({"status": "created"}, "/status"),
        ({"id": str(UUID(int=1))}, "/id"),
        ({"createdAt": "2026-01-31T12:00:00Z"}, "/createdAt"),
    ],
)
async def test_invalid_payment_field_is_named(store: Store, body: dict[str, Any], pointer: str) -> None:
    ada = await store.somebody()
    response = await ada.pay(**body)
    assert problem(response) == (422, "invalid-request")
    assert [error["pointer"].removesuffix("/[key]") for error in response.json()["errors"]] == [pointer]


async def test_currency_in_lower_case_gets_a_hint(store: Store) -> None:
    ada = await store.sign_up()
    (error,) = (await ada.pay(currency="usd")).json()["errors"]
    assert error["message"].endswith('in capitals; did you mean "USD"?')


async def test_largest_metadata_is_sorted_by_key(store: Store) -> None:
    ada = await store.sign_up()
    notes = {f"{n:040}": "é" * 500 for n in reversed(range(50))}
    response = await ada.pay(metadata=notes)
    assert list(response.json()["metadata"]) == sorted(notes)
    payment = await ada.recorded(response.json()["id"])
    assert (payment["metadata"], list(payment["metadata"])) == (notes, sorted(notes))


async def test_only_an_admin_pays_for_another_user(store: Store) -> None:
    ada, bob, admin = await store.sign_up(), await store.sign_up(), await store.admin()
    assert problem(await ada.pay(userId=bob.id)) == (403, "forbidden")
    assert problem(await ada.pay(userId=str(uuid4()))) == (403, "forbidden")
    payment = await admin.paid(userId=bob.id)
    assert payment["userId"] == bob.id
    assert (await bob.get(f"/payments/{payment['id']}")).json() == payment


async def test_payer_must_exist(store: Store) -> None:
    admin, gone = await store.admin(), await store.sign_up()
    await gone.request("DELETE", f"/users/{gone.id}", json=CONFIRMED)
    for user_id in (uuid4(), gone.id):
        response = await admin.pay(userId=str(user_id))
        assert problem(response) == (422, "unknown-user")
        assert [error["pointer"] for error in response.json()["errors"]] == ["/userId"]


async def test_other_and_unknown_payments_look_the_same(store: Store) -> None:
    ada, bob, admin = await store.sign_up(), await store.sign_up(), await store.admin()
    payment = await ada.paid()
    assert (await ada.get(f"/payments/{payment['id']}")).json() == payment
    assert (await admin.get(f"/payments/{payment['id']}")).json() == payment
    for response in (await bob.get(f"/payments/{payment['id']}"), await ada.get(f"/payments/{uuid4()}")):
        assert problem(response) == (404, "not-found")


async def test_pending_payment_is_visible_to_its_payer_only(store: Store) -> None:
    ada, bob = await store.sign_up(), await store.sign_up()
    async with store.outages.held():
        accepted = (await ada.pay()).json()
        assert (await ada.get(f"/payments/{accepted['id']}")).json() == accepted
        assert problem(await bob.get(f"/payments/{accepted['id']}")) == (404, "not-found")
    await ada.recorded(accepted["id"])


async def test_payments_are_listed_newest_first_in_pages(store: Store) -> None:
    ada = await store.sign_up()
    made = [(await ada.paid(amount=amount))["id"] for amount in range(1, 6)]
    seen, cursor = [], None
    for size in (2, 2, 1):
        page = (await ada.get("/payments", limit=2, **({"cursor": cursor} if cursor else {}))).json()
        assert set(page) == {"data", "hasMore", "nextCursor"}
        assert len(page["data"]) == size
        seen += [payment["id"] for payment in page["data"]]
        cursor = page["nextCursor"]
        assert page["hasMore"] is (cursor is not None)
    assert seen == made[::-1]
    assert cursor is None


async def test_users_list_own_payments_admins_all(store: Store) -> None:
    ada, bob, admin = await store.sign_up(), await store.sign_up(), await store.admin()
    (hers, his) = await asyncio.gather(ada.paid(), bob.paid())
    assert (await ada.get("/payments")).json()["data"] == [hers]
    assert (await ada.get("/payments", userId=ada.id)).json()["data"] == [hers]
    assert problem(await ada.get("/payments", userId=bob.id)) == (403, "forbidden")
    assert (await admin.get("/payments", userId=bob.id)).json()["data"] == [his]
    assert (await admin.get("/payments", userId=admin.id)).json()["data"] == []
    newest = [payment["id"] for payment in (await admin.get("/payments", limit=2)).json()["data"]]
    assert set(newest) == {hers["id"], his["id"]}


async def test_payments_are_listed_by_status(store: Store) -> None:
    ada = await store.sign_up()
    created, rejected = await ada.paid(), await ada.paid(amount=PAYMENT_LIMIT + 1)
    assert (await ada.get("/payments", status="created")).json()["data"] == [created]
    assert (await ada.get("/payments", status="rejected")).json()["data"] == [rejected]


@pytest.mark.parametrize(
    ("path", "params", "pointer"),
    [
        ("/payments", {"limit": 0}, "/query/limit"),
        ("/payments", {"limit": 101}, "/query/limit"),
        ("/payments", {"limit": "x"}, "/query/limit"),
        ("/payments", {"status": "lost"}, "/query/status"),
        ("/payments", {"userId": "me"}, "/query/userId"),
        ("/payments", {"cursor": "rubbish"}, "/query/cursor"),
        ("/payments", {"cursor": "x" * 201}, "/query/cursor"),
        ("/payments/1", {}, "/path/payment_id"),
        ("/users/1", {}, "/path/user_id"),
        ("/users", {"limit": 0}, "/query/limit"),
        ("/users", {"cursor": "rubbish"}, "/query/cursor"),
    ],
)
async def test_invalid_query_parameter_is_named(store: Store, path: str, params: dict[str, Any], pointer: str) -> None:
    admin = await store.some_admin()
    response = await admin.get(path, **params)
    assert problem(response) == (422, "invalid-request")
    assert [error["pointer"] for error in response.json()["errors"]] == [pointer]


@pytest.mark.parametrize(
    ("prefer", "applied"),
    [
        ("wait=30", 30),
        ("wait=99", 30),
        ("wait=999999999999", 30),
        ('wait="30"', 30),
        ("WAIT = 30", 30),
        ("respond-async, wait=30", 30),
        ("wait=30; because=why, handling=lenient", 30),
        ("wait=x, wait=30", 30),
    ],
)
async def test_prefer_wait_returns_the_recorded_payment(store: Store, prefer: str, applied: int) -> None:
    ada = await store.somebody()
    response = await ada.pay(None, prefer)
    assert (response.status_code, response.json()["status"]) == (201, "created")
    assert response.headers["preference-applied"] == f"wait={applied}"
    assert response.headers["location"] == f"/payments/{response.json()['id']}"
    assert (await ada.get(response.headers["location"])).json() == response.json()


@pytest.mark.parametrize("prefer", ["wait", "wait=", "wait=-1", "wait=1.5", "wait=x", "waits=5", "return=minimal", ","])
async def test_invalid_preference_is_ignored(store: Store, prefer: str) -> None:
    ada = await store.somebody()
    response = await ada.pay(None, prefer)
    assert (response.status_code, response.json()["status"]) == (202, "pending")
    assert "preference-applied" not in response.headers


async def test_preferences_may_be_in_several_fields(store: Store) -> None:
    ada = await store.somebody()
    headers = [("Authorization", f"Bearer {ada.token}"), ("Prefer", "respond-async"), ("Prefer", "wait=30")]
    response = await store.http.post("/payments", headers=headers, json={"amount": 1})
    assert (response.status_code, response.headers["preference-applied"]) == (201, "wait=30")


@pytest.mark.parametrize("seconds", [0, 1])
async def test_wait_timeout_returns_the_accepted_payment(store: Store, seconds: int) -> None:
    ada = await store.somebody()
    async with store.outages.held():
        response = await ada.pay(None, f"wait={seconds}")
    assert (response.status_code, response.json()["status"]) == (202, "pending")
    assert response.headers["preference-applied"] == f"wait={seconds}"
    await ada.recorded(response.json()["id"])


async def test_waiting_request_returns_when_the_payment_is_recorded(store: Store) -> None:
    ada = await store.sign_up()
    key = new_key()
    async with store.outages.held():
        first = await ada.pay(key)
        waiting = [asyncio.create_task(ada.pay(key, "wait=30")) for _ in range(3)]
        await asyncio.sleep(0)
    responses = await asyncio.wait_for(asyncio.gather(*waiting), 60)
    assert {response.status_code for response in responses} == {201}
    assert {response.content for response in responses} == {responses[0].content}
    assert responses[0].json() == first.json() | {"status": "created"}
