"""Generates load: simulated users who pay, sign up, change their names and delete their accounts."""

import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from uuid import uuid4

from kit.runtime.tasks import cancel_and_wait
from mkstore.chaos.http_client import Answer, Api, Outcome
from mkstore.chaos.ledger import PASSWORD, Attempt, Change, Ledger, User
from mkstore.chaos.sessions import REVOCATION_TIME, SessionLoad

_RETRY_DELAY = 0.1
_ACCEPT_TIMEOUT = 120.0
"""Seconds until a payment that is refused on every retry is reported."""
_PROBE_INTERVAL, _USER_INTERVAL = 0.1, 0.5
"""Minimum seconds between two reads of a probe, and between two sign-ups of a load with a rate."""
_PAYMENTS_PER_PROBE, _PAYMENTS_PER_USER = 10, 25
"""Payments per read of a probe and per sign-up, if the rate is so low that the minimum would be more often."""
_KEYED, _REPEATED, _READ_BACK = 0.5, 0.1, 0.1
"""Share of payments with an idempotency key; share of those after which a key is used again; share of all that are read
back."""
_SIGN_UPS_AT_ONCE = 4
_REPLAYED, _KEY_REUSED = "idempotent-replayed", "idempotency-key-reused"
_AMOUNT = 100
PROBES = {"list payments": "/payments?limit=1", "get user": "/users/me"}
"""Reads that are tried all the time, by the name of the operation in the ledger."""


class RegistrationFailed(Exception):
    """A payer could not be registered."""


async def register_payers(api: Api, number: int, *, timeout: float = 60.0) -> list[User]:  # noqa: ASYNC109 - the error says what failed
    """Create and sign in `number` users; retry while something is unavailable or a rate limit applies.

    Raises `RegistrationFailed` with status and problem code for any other refusal, or after `timeout` seconds.
    """
    limit = asyncio.Semaphore(_SIGN_UPS_AT_ONCE)
    deadline = time.monotonic() + timeout

    async def one() -> User:
        async with limit:
            return await _register(api, deadline)

    return list(await asyncio.gather(*(one() for _ in range(number))))


async def _register(api: Api, deadline: float) -> User:
    user = User(f"{uuid4()}@example.com")
    body = {"email": user.email, "password": PASSWORD}
    created = await _retried(lambda: api("POST", "/users", json=body), deadline, after_loss="email-taken")
    credentials = {"email": user.email, "password": PASSWORD}
    signed_in = await _retried(lambda: api("POST", "/auth/sessions", json=credentials), deadline)
    user.token = signed_in.json["accessToken"]
    if created.outcome is not Outcome.DONE:  # the response to the sign-up was lost
        created = await _retried(lambda: api("GET", "/users/me", token=user.token), deadline)
    user.id = created.json["id"]
    user.changes.append(Change("created", version=1))
    return user


async def _retried(request: Callable[[], Awaitable[Answer]], deadline: float, *, after_loss: str = "") -> Answer:
    """Repeat a request until it succeeds, or is refused with `after_loss` after a response that was lost.

    Raises `RegistrationFailed` for a refusal that a retry cannot change, or after the deadline.
    """
    is_lost = False
    while True:
        answer = await request()
        if answer.outcome is Outcome.DONE or (is_lost and answer.code == after_loss):
            return answer
        may_retry = answer.is_unavailable or answer.status == HTTPStatus.TOO_MANY_REQUESTS
        if not may_retry or time.monotonic() > deadline:
            raise RegistrationFailed(f"a payer could not be registered: {answer}")
        is_lost = is_lost or answer.outcome is Outcome.UNKNOWN
        await asyncio.sleep(float(answer.headers.get("retry-after", _RETRY_DELAY)))


class LoadGenerator:
    """The load on a store during one round; each payer pays in a loop.

    With `payments`, that number of them is made and no more. `rate` limits the payments per second of all payers
    together, and probes and changes of users in proportion (0: no limit). `read_back` is the share of accepted payments
    that are read, `reused_keys` the number of newest keys that are used again. `changes_users` and `probes` say whether
    others sign up, and whether reads are tried all the time. Every request and its response is recorded in `ledger`.
    """

    def __init__(
        self,
        api: Api,
        payers: Sequence[User],
        ledger: Ledger,
        *,
        seed: int = 1,
        payments: int | None = None,
        rate: float = 0.0,
        read_back: float = _READ_BACK,
        changes_users: bool = True,
        probes: bool = True,
        reused_keys: int = 1,
        revoked_within: float = REVOCATION_TIME,
    ) -> None:
        self._api = api
        self._payers = payers
        self.ledger = ledger
        self._random = random.Random(seed)  # noqa: S311 - a load, no secret
        self._payments = payments
        self._rate = rate
        self._read_back_share = read_back
        self._changes_users = changes_users
        self._keys: deque[tuple[User, Attempt, Answer]] = deque(maxlen=reused_keys)
        self._probes = PROBES if probes else {}
        self._sessions = SessionLoad(api, ledger, revoked_within)
        self._stopped = asyncio.Event()
        self._next = 0.0
        self._paying: list[asyncio.Task[None]] = []
        self._others: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Start the load."""
        self._next = time.monotonic()
        self._paying = [asyncio.create_task(self._pay_repeatedly(payer)) for payer in self._payers]
        others = [self._probe(operation, path) for operation, path in self._probes.items()]
        others += [self._change_users()] if self._changes_users else []
        self._others = [asyncio.create_task(work) for work in others]

    def reuse_newest(self, number: int) -> None:
        """Use only the `number` newest keys again from now on."""
        self._keys = deque(self._keys, maxlen=number)

    async def finish(self) -> None:
        """Return when all `payments` are made."""
        await asyncio.gather(*self._paying)
        await self.stop()

    async def stop(self) -> None:
        """Finish the current operations; a payment with a key is retried until there is a response."""
        self._stopped.set()
        await asyncio.gather(*self._paying, *self._others)
        await self._sessions.finish()

    async def cancel(self) -> None:
        """End the load at once; requests in progress are abandoned."""
        await cancel_and_wait([*self._paying, *self._others])

    async def _pay_repeatedly(self, payer: User) -> None:
        while True:
            await self._pace()
            if self._stopped.is_set() or (self._payments is not None and len(self.ledger.attempts) >= self._payments):
                return
            attempt = Attempt(payer.id or "", uuid4().hex if self._random.random() < _KEYED else None)
            self.ledger.attempts.append(attempt)
            first = await self._until_accepted(payer, attempt)
            if first is not None and attempt.key:
                self._keys.append((payer, attempt, first))
                if self._random.random() < _REPEATED:
                    await self._repeat(*self._random.choice(self._keys))
            if first is not None and self._random.random() < self._read_back_share:
                await self._read_back(payer, attempt)

    async def _pace(self) -> None:
        """Wait until the rate allows the next payment."""
        if self._rate:
            self._next = max(self._next, time.monotonic() - 1) + 1 / self._rate
            await asyncio.sleep(max(0.0, self._next - time.monotonic()))

    async def _pay(self, payer: User, attempt: Attempt, amount: int = _AMOUNT) -> Answer:
        headers = {"Idempotency-Key": attempt.key} if attempt.key else {}
        body = {"amount": amount, "metadata": {"tag": attempt.tag}}
        return await self._api("POST", "/payments", token=payer.token, headers=headers, json=body)

    async def _until_accepted(self, payer: User, attempt: Attempt) -> Answer | None:
        """Pay and retry while that is safe: always with a key; without one, only if nothing can have been done."""
        deadline = time.monotonic() + _ACCEPT_TIMEOUT
        is_retry = False
        while True:
            answer = await self._pay(payer, attempt)
            self.ledger.record("pay", answer)
            if answer.outcome is Outcome.DONE:
                attempt.id = answer.json["id"]
                self.ledger.accepted += 1
                if not is_retry and _REPLAYED in answer.headers:
                    self.ledger.unexpected.append(f"the first response to a key was a repetition: {answer}")
                return answer
            attempt.uncertain = attempt.uncertain or answer.outcome is Outcome.UNKNOWN
            if not answer.is_unavailable or (attempt.uncertain and not attempt.key):
                return None
            if not attempt.key and self._stopped.is_set():
                return None
            if time.monotonic() > deadline:
                self.ledger.unexpected.append(f"not accepted within {_ACCEPT_TIMEOUT:g} s: {answer}")
                return None
            is_retry = True
            await asyncio.sleep(_RETRY_DELAY)

    async def _repeat(self, payer: User, attempt: Attempt, first: Answer) -> None:
        """Use the key of an accepted payment again, with the same body and with another one."""
        repetition = await self._pay(payer, attempt)
        self.ledger.record("repeat", repetition)
        if repetition.outcome is not Outcome.DONE:
            return
        is_same = (repetition.status, repetition.body) == (first.status, first.body)
        if not is_same or _REPLAYED not in repetition.headers:
            self.ledger.unexpected.append(f"the response to a repeated key was {repetition} after {first}")
        other = await self._pay(payer, attempt, _AMOUNT + 1)
        if other.code != _KEY_REUSED:
            self.ledger.record("reuse", other)
            if other.outcome is Outcome.DONE:
                self.ledger.unexpected.append(f"a used key with another body was accepted: {other}")

    async def _read_back(self, payer: User, attempt: Attempt) -> None:
        answer = await self._api("GET", f"/payments/{attempt.id}", token=payer.token)
        self.ledger.record("get payment", answer)
        if answer.outcome is Outcome.DONE and answer.json["id"] != attempt.id:
            self.ledger.unexpected.append(f"GET /payments/{attempt.id} returned another payment: {answer}")

    async def _probe(self, operation: str, path: str) -> None:
        while not self._stopped.is_set():
            self.ledger.record(operation, await self._api("GET", path, token=self._payers[0].token))
            await asyncio.sleep(max(_PROBE_INTERVAL, _PAYMENTS_PER_PROBE / self._rate if self._rate else 0.0))

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
            credentials = {"email": user.email, "password": PASSWORD}
            signed_in = await self._api("POST", "/auth/sessions", json=credentials)
            self.ledger.record("sign in", signed_in)
            if signed_in.outcome is not Outcome.DONE:
                continue
            user.token = signed_in.json["accessToken"]
            await self._sessions.run(user)
            for name in ("1", "2"):
                await self._change(user, Change("updated", name), "PATCH", f"/users/{user.id}", {"name": name})
            if number % 2:
                password = {"currentPassword": PASSWORD}
                await self._change(user, Change("deleted"), "DELETE", f"/users/{user.id}", password)
            if self._rate:
                await asyncio.sleep(max(_USER_INTERVAL, _PAYMENTS_PER_USER / self._rate))

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
