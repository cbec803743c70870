"""Concurrent payers for end-to-end tests; they record every answer for the audit."""

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import httpx

from tests.support.http_client import PROBLEM, Caller, sign_up_many
from tests.support.polling import eventually

_PAYMENT_TIMEOUT = 90.0
"""Seconds after which a payment that is refused again and again counts as failed."""
_RETRY_DELAY = 0.1


@dataclass
class Attempt:
    """One payment that a caller makes; `tag` is in its metadata."""

    caller: Caller
    key: str | None
    tag: str = field(default_factory=lambda: uuid.uuid4().hex)
    id: str | None = None
    """Id of the payment, once it was accepted."""
    replayed: bool = False


@dataclass
class PaymentLoad:
    """Payments of several callers, every second one with an idempotency key, and their results."""

    callers: Sequence[Caller]
    attempts: list[Attempt]
    read_every: int = 5
    """One in this number of payments is read back right after it was accepted."""
    accepted: int = 0
    refusals: Counter[str] = field(default_factory=Counter)
    """Count by status and code, or by the name of the exception."""
    unexpected: list[str] = field(default_factory=list)
    """Answers that must never occur."""
    stopped: bool = False
    """Set it to end the load before all payments are made."""

    @classmethod
    async def create(
        cls, http: httpx.AsyncClient, callers: int, payments: int, *, read_every: int = 5
    ) -> "PaymentLoad":
        """Sign the callers up and divide the payments among them."""
        people = await sign_up_many(http, callers)
        attempts = [
            Attempt(people[number % callers], uuid.uuid4().hex if number % 2 else None) for number in range(payments)
        ]
        return cls(people, attempts, read_every)

    @property
    def answered(self) -> list[Attempt]:
        """Attempts that were answered with 202 or 201."""
        return [attempt for attempt in self.attempts if attempt.id]

    @property
    def user_ids(self) -> list[str]:
        """Ids of the callers."""
        return [caller.id for caller in self.callers]

    async def run(self) -> None:
        """Let every caller make its payments, one after the other."""

        async def pay_all(caller: Caller) -> None:
            for number, attempt in enumerate([each for each in self.attempts if each.caller is caller]):
                if self.stopped:
                    return
                await self._pay(attempt)
                if attempt.id and number % self.read_every == 0:
                    await self._read(attempt)

        await asyncio.gather(*(pay_all(caller) for caller in self.callers))

    async def wait_until_accepted(self, number: int, *, timeout: float = 60.0) -> None:
        """Return once this number of payments was accepted."""
        await eventually(lambda: self.accepted >= number, timeout=timeout, describe=lambda: f"{self.accepted} accepted")

    async def _pay(self, attempt: Attempt) -> None:
        """Pay, and retry where that is safe: with a key always, without one only if nothing can have been done."""
        deadline = time.monotonic() + _PAYMENT_TIMEOUT
        headers = {"Idempotency-Key": attempt.key} if attempt.key else {}
        body = {"amount": 100, "metadata": {"tag": attempt.tag}}
        while not self.stopped:
            answer, error = await self._request(attempt.caller, "POST", "/payments", json=body, headers=headers)
            if answer is not None and answer.status_code in {201, 202}:
                attempt.id = answer.json()["id"]
                attempt.replayed = "Idempotent-Replayed" in answer.headers
                self.accepted += 1
                return
            nothing_done = isinstance(error, httpx.ConnectError) or (answer is not None and answer.status_code == 503)
            if not attempt.key and not nothing_done:
                return
            if time.monotonic() > deadline:
                self.unexpected.append(f"not accepted after {_PAYMENT_TIMEOUT:g} s: {attempt}")
                return
            await asyncio.sleep(_RETRY_DELAY)

    async def _read(self, attempt: Attempt) -> None:
        answer, _ = await self._request(attempt.caller, "GET", f"/payments/{attempt.id}")
        if answer is not None and answer.status_code == 200 and answer.json()["id"] != attempt.id:
            self.unexpected.append(f"another payment: {answer.text}")

    async def _request(
        self, caller: Caller, method: str, path: str, **options: object
    ) -> tuple[httpx.Response | None, httpx.TransportError | None]:
        try:
            answer = await caller(method, path, **options)  # type: ignore[arg-type]
        except httpx.TransportError as error:
            self.refusals[type(error).__name__] += 1
            if isinstance(error, httpx.TimeoutException):
                self.unexpected.append(f"{method} {path}: {error!r}")
            return None, error
        if answer.status_code >= 400:
            is_problem = answer.headers.get("content-type") == PROBLEM
            self.refusals[f"{answer.status_code} {answer.json()['code'] if is_problem else 'no problem+json'}"] += 1
            if answer.status_code not in {503, 504} or not is_problem:
                self.unexpected.append(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
        return answer, None
