"""Guesses at passwords: what one guesser can try, and that the owner is never locked out."""

import asyncio
from collections import Counter
from typing import Any
from unicodedata import normalize
from uuid import uuid4

import httpx
import pytest

from tests.support.memory_store import MemoryStore, in_memory
from tests.support.sign_in import at_address, sign_in
from tests.support.store import SignedInUser
from tests.support.users_harness import PASSWORD, new_email

OF_THE_REQUEST = {"requestId": None, "instance": None}

HOME, OFFICE = "10.0.0.1", "10.0.0.2"
"""Addresses of the owner."""


def limited(**options: Any) -> Any:
    """Return a store in which only guesses are limited."""
    high = dict.fromkeys(("rate_limit_session", "rate_limit_sign_up", "rate_limit_address"), "100000/minute")
    return in_memory(rate_limit_enabled=True, **high, **options)


def is_judged(response: httpx.Response) -> bool:
    """Return whether the password was checked, and wrong."""
    assert response.status_code in {400, 401, 422, 429}, response.text
    return response.status_code != 429


def is_throttled(response: httpx.Response, limit: str) -> bool:
    if response.status_code != 429:
        return False
    assert response.json()["code"] == "too-many-requests"
    wait = int(response.headers["retry-after"])
    assert response.headers["ratelimit"] == f'"{limit}";r=0;t={wait}'
    assert response.headers["ratelimit-policy"].startswith(f'"{limit}";q=')
    return True


async def guess(store: MemoryStore, email: str, times: int, *, address: str = "192.0.2.1") -> int:
    """Guess at a password, all at once; return how many guesses were judged."""
    guesses = (sign_in(store, email, f"guess {number}", address=address) for number in range(times))
    return sum(map(is_judged, await asyncio.gather(*guesses)))


async def change_password(user: SignedInUser, store: MemoryStore, password: str, address: str) -> httpx.Response:
    body = {"currentPassword": password, "newPassword": "staple of another colour"}
    async with at_address(store, address) as http:
        return await SignedInUser(http, user.user, user.token).request("PUT", f"/users/{user.id}/password", json=body)


async def test_every_form_of_an_email_is_one_account() -> None:
    async with limited() as store:
        local = f"zo\u00eb-{uuid4().hex}"
        await store.sign_up(email=f"{local}@example.com")
        forms = [
            f"{local}@example.com",
            f" {local.upper()}@Example.COM ",
            f"{normalize('NFD', local)}@example.com",
            f"{local}@\uff45\uff58\uff41\uff4d\uff50\uff4c\uff45.com",
            f"{local}@example\u3002com",
        ]
        judged = [is_judged(await sign_in(store, form, "a guess")) for form in forms * 4]
        assert judged == [True] * 10 + [False] * 10
        assert [is_throttled(await sign_in(store, form), "account") for form in forms] == [True] * 5


@pytest.mark.parametrize("form", ["Ada <{}>", "<{}>", '"Ada Lovelace" <{}>'])
async def test_address_with_a_display_name_is_no_email(form: str) -> None:
    async with limited() as store:
        ada = await store.sign_up()
        refused = await store.http.post("/users", json={"email": form.format(new_email()), "password": PASSWORD})
        assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/email")
        wrong = await sign_in(store, ada.user["email"], "a guess")
        named = await sign_in(store, form.format(ada.user["email"]))
        assert named.status_code == wrong.status_code
        assert named.json() | OF_THE_REQUEST == wrong.json() | OF_THE_REQUEST


async def test_of_fifty_guesses_at_once_ten_are_judged() -> None:
    async with limited() as store:
        ada = await store.sign_up()
        assert await guess(store, ada.user["email"], 50) == 10


async def test_addresses_of_one_network_share_one_count() -> None:
    async with limited() as store:
        email = (await store.sign_up()).user["email"]
        hosts = [f"2001:db8:0:1::{number:x}" for number in range(1, 26)]
        assert sum([await guess(store, email, 1, address=host) for host in hosts]) == 10
        assert await guess(store, email, 1, address="2001:db8:0:2::1") == 1


async def test_right_password_is_refused_while_the_guesser_waits() -> None:
    async with limited() as store:
        email = (await store.sign_up()).user["email"]
        await guess(store, email, 10)
        assert is_throttled(await sign_in(store, email, address="192.0.2.1"), "account")
        assert (await sign_in(store, email, address=HOME)).status_code in {200, 201}


async def test_guesses_from_many_addresses_do_not_lock_out_the_owner() -> None:
    async with limited(rate_limit_account_total="20/hour") as store:
        email = (await store.sign_up()).user["email"]
        assert (await sign_in(store, email, address=HOME)).status_code in {200, 201}
        botnet = [f"198.51.100.{number}" for number in range(30)]
        assert sum([await guess(store, email, 2, address=address) for address in botnet]) == 20
        assert is_throttled(await sign_in(store, email, address=OFFICE), "account_total")
        assert (await sign_in(store, email, address=HOME)).status_code in {200, 201}
        assert await guess(store, email, 20, address=HOME) == 10


async def test_right_passwords_are_not_counted() -> None:
    async with limited(rate_limit_account="2/day", rate_limit_account_total="2/hour") as store:
        ada = await store.sign_up()
        for number in range(5):
            for address in (HOME, f"198.51.100.{number}"):
                assert (await sign_in(store, ada.user["email"], address=address)).status_code in {200, 201}
        assert await guess(store, ada.user["email"], 1) == 1
        responses = await asyncio.gather(*(sign_in(store, ada.user["email"], address=HOME) for _ in range(2)))
        assert {200, 201} & {response.status_code for response in responses}


async def test_stolen_token_cannot_block_the_password_change() -> None:
    async with limited() as store:
        ada = await store.sign_up()
        guesses = await asyncio.gather(*(change_password(ada, store, f"guess {n}", "192.0.2.1") for n in range(15)))
        assert Counter(map(is_judged, guesses)) == {True: 10, False: 5}
        assert is_throttled(await change_password(ada, store, PASSWORD, "192.0.2.1"), "account")
        assert (await change_password(ada, store, PASSWORD, HOME)).status_code == 204


async def test_stolen_token_at_many_addresses_does_not_block_the_owner() -> None:
    async with limited(rate_limit_account_total="5/hour") as store:
        ada = await store.sign_up()
        assert (await sign_in(store, ada.user["email"], address=HOME)).status_code in {200, 201}
        botnet = [f"198.51.100.{number}" for number in range(8)]
        guesses = [await change_password(ada, store, "a guess", address) for address in botnet]
        assert sum(map(is_judged, guesses)) == 5
        assert is_throttled(await change_password(ada, store, PASSWORD, OFFICE), "account_total")
        assert (await change_password(ada, store, PASSWORD, HOME)).status_code == 204


async def test_refused_new_password_is_no_guess() -> None:
    async with limited(rate_limit_account="2/day") as store:
        ada = await store.sign_up()
        body = {"currentPassword": PASSWORD, "newPassword": "password1"}
        for _ in range(4):
            response = await ada.request("PUT", f"/users/{ada.id}/password", json=body)
            assert (response.status_code, response.json()["code"]) == (422, "password-too-common")


async def test_flood_of_guesses_is_refused_before_any_hash() -> None:
    """300 sign-ins per second for three seconds; a timed run is in docs/adr/0027-guessing.md."""
    async with limited() as store:
        ada = await store.sign_up()
        email = ada.user["email"]
        assert (await sign_in(store, email, address=HOME)).status_code in {200, 201}
        judged = 0
        for second in range(9):
            addresses = [f"203.0.{second}.{number}" for number in range(100)]
            flood = asyncio.gather(*(sign_in(store, email, "a guess", address=address) for address in addresses))
            assert (await ada.get("/users/me")).status_code == 200
            judged += sum(response.status_code in {400, 401} for response in await flood)
            assert (await sign_in(store, email, address=HOME)).status_code in {200, 201}
        assert judged == 100


async def test_repeated_sign_ups_with_other_passwords_are_guesses() -> None:
    async with limited() as store:
        body = {"email": new_email(), "name": "Ada"}
        passwords = [PASSWORD, *(f"a wrong guess {number}" for number in range(20))]
        answers = [
            await store.http.post("/users", json=body | {"password": each}, headers={"Idempotency-Key": "1"})
            for each in passwords
        ]
        counts = Counter(answer.status_code for answer in answers)
        assert (counts[201], counts[429] > 0, counts[409] + counts[429]) == (1, True, 20)
