"""Generates load: simulated users who pay, sign up, change their names and delete their accounts during faults."""

import asyncio
import random
import time
from http import HTTPStatus
from uuid import uuid4

from mkstore.chaos.http_client import Answer, Api, Outcome
from mkstore.chaos.ledger import Attempt, Change, Ledger, User

PASSWORD = "a long enough sentence"  # noqa: S105 - of simulated users
_RETRY_DELAY = 0.1
_ACCEPT_TIMEOUT = 120.0
"""Seconds until a payment that is refused on every retry is reported."""
_PROBE_INTERVAL = 0.1
_KEYED, _REPEATED, _READ_BACK = 0.5, 0.1, 0.1
"""Share of payments with an idempotency key; of accepted ones, share repeated and share read back."""
_SIGN_UPS_AT_ONCE = 4


async def register_payers(api: Api, number: int) -> list[User]:
    """Create and sign in `number` users; needs a healthy store."""
    limit = asyncio.Semaphore(_SIGN_UPS_AT_ONCE)

    async def one() -> User:
        user = User(f"{uuid4()}@example.com")
        async with limit:
            answer = await api("POST", "/users", json={"email": user.email, "password": PASSWORD})
            user.id = answer.json["id"]
            form = {"grant_type": "password", "username": user.email, "password": PASSWORD}
            user.token = (await api("POST", "/auth/token", form=form)).json["access_token"]
        return user

    return list(await asyncio.gather(*(one() for _ in range(number))))


class LoadGenerator:
    """The load on a store during one round; each payer pays in a loop, at most `rate` payments per second in all.

    A rate of 0 has no limit. Every request and its response is recorded in `ledger`.
    """

    def __init__(self, api: Api, payers: list[User], ledger: Ledger, *, seed: int, rate: float = 0.0) -> None:
        self._api = api
        self._payers = payers
        self.ledger = ledger
        self._random = random.Random(seed)  # noqa: S311 - a load, no secret
        self._stopped = asyncio.Event()
        self._rate = rate
        self._next = 0.0
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Start the load."""
        loops = [self._pay_forever(payer) for payer in self._payers]
        loops += [self._change_users()]
        loops += [self._probe("list payments", "/payments?limit=1"), self._probe("get user", "/users/me")]
        self._next = time.monotonic()
        self._tasks = [asyncio.create_task(work) for work in loops]

    async def stop(self) -> None:
        """Finish the current operations; a payment with a key is retried until there is a response."""
        self._stopped.set()
        await asyncio.gather(*self._tasks)

    async def _pay_forever(self, payer: User) -> None:
        while not self._stopped.is_set():
            await self._pace()
            attempt = Attempt(payer.id or "", uuid4().hex if self._random.random() < _KEYED else None)
            self.ledger.attempts.append(attempt)
            first = await self._until_accepted(payer, attempt)
            if first is not None and attempt.key and self._random.random() < _REPEATED:
                await self._repeat(payer, attempt, first)
            if first is not None and self._random.random() < _READ_BACK:
                await self._read_back(payer, attempt)

    async def _pace(self) -> None:
        """Wait until the rate allows the next payment."""
        if self._rate:
            self._next = max(self._next, time.monotonic() - 1) + 1 / self._rate
            await asyncio.sleep(max(0.0, self._next - time.monotonic()))

    async def _pay(self, payer: User, attempt: Attempt) -> Answer:
        headers = {"Idempotency-Key": attempt.key} if attempt.key else {}
        body = {"amount": 100, "metadata": {"tag": attempt.tag}}
        return await self._api("POST", "/payments", token=payer.token, headers=headers, json=body)

    async def _until_accepted(self, payer: User, attempt: Attempt) -> Answer | None:
        """Pay and retry while that is safe: always with a key; without one, only if nothing can have been done."""
        deadline = time.monotonic() + _ACCEPT_TIMEOUT
        while True:
            answer = await self._pay(payer, attempt)
            self.ledger.record("pay", answer)
            if answer.outcome is Outcome.DONE:
                attempt.id = answer.json["id"]
                self.ledger.accepted += 1
                return answer
            attempt.uncertain = attempt.uncertain or answer.outcome is Outcome.UNKNOWN
            if not answer.is_unavailable or (attempt.uncertain and not attempt.key):
                return None
            if not attempt.key and self._stopped.is_set():
                return None
            if time.monotonic() > deadline:
                self.ledger.unexpected.append(f"not accepted within {_ACCEPT_TIMEOUT:g} s: {answer}")
                return None
            await asyncio.sleep(_RETRY_DELAY)

    async def _repeat(self, payer: User, attempt: Attempt, first: Answer) -> None:
        repetition = await self._pay(payer, attempt)
        self.ledger.record("repeat", repetition)
        if repetition.outcome is not Outcome.DONE:
            return
        if "idempotent-replayed" in repetition.headers:
            same = (repetition.status, repetition.body) == (first.status, first.body)
        else:  # the payments service was down, so the gateway could not recognize a repetition (ADR 3)
            self.ledger.refusals["202 not recognized as a repetition"] += 1
            same = {**repetition.json, "createdAt": ""} == {**first.json, "createdAt": ""}
        if not same:
            self.ledger.unexpected.append(f"the response to a repeated key was {repetition} after {first}")

    async def _read_back(self, payer: User, attempt: Attempt) -> None:
        answer = await self._api("GET", f"/payments/{attempt.id}", token=payer.token)
        self.ledger.record("get payment", answer)
        if answer.outcome is Outcome.DONE and answer.json["id"] != attempt.id:
            self.ledger.unexpected.append(f"GET /payments/{attempt.id} returned another payment: {answer}")

    async def _probe(self, operation: str, path: str) -> None:
        while not self._stopped.is_set():
            self.ledger.record(operation, await self._api("GET", path, token=self._payers[0].token))
            await asyncio.sleep(_PROBE_INTERVAL)

    async def _change_users(self) -> None:
        """Sign up users in a loop, change each name twice, and delete every other user; each step is tried once."""
        number = 0
        while not self._stopped.is_set():
            number += 1
            user = User(f"{uuid4()}@example.com")
            self.ledger.users.append(user)
            body = {"email": user.email, "password": PASSWORD, "name": "0"}
            created = await self._change(user, Change("created", "0"), "POST", "/users", body)
            if created is None:
                await asyncio.sleep(_RETRY_DELAY)
                continue
            user.id = created.json["id"]
            form = {"grant_type": "password", "username": user.email, "password": PASSWORD}
            signed_in = await self._api("POST", "/auth/token", form=form)
            self.ledger.record("sign in", signed_in)
            if signed_in.outcome is not Outcome.DONE:
                continue
            user.token = signed_in.json["access_token"]
            for name in ("1", "2"):
                await self._change(user, Change("updated", name), "PATCH", f"/users/{user.id}", {"name": name})
            if number % 2:
                await self._change(user, Change("deleted"), "DELETE", f"/users/{user.id}", None)

    async def _change(
        self, user: User, change: Change, method: str, path: str, body: dict[str, str] | None
    ) -> Answer | None:
        user.changes.append(change)
        answer = await self._api(method, path, token=user.token, json=body)
        self.ledger.record(change.kind, answer)
        if answer.outcome is Outcome.DONE:
            # DELETE has no ETag: the version after it is not known here.
            change.version = int(answer.headers["etag"].strip('"')) if answer.status != HTTPStatus.NO_CONTENT else -1
            return answer
        change.uncertain = answer.outcome is Outcome.UNKNOWN
        return None
