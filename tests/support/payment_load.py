"""Many callers that pay and sign up at once, and remember everything that they were told."""

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import httpx

from tests.support.http_client import PROBLEM, Caller, sign_up_many
from tests.support.polling import eventually

GIVE_UP = 90.0
"""Seconds after which a payment that is refused again and again has failed."""
_AGAIN = 0.1


@dataclass
class Wish:
    """One payment that somebody wants; `tag` stands in its metadata."""

    caller: Caller
    key: str | None
    tag: str = field(default_factory=lambda: uuid.uuid4().hex)
    id: str | None = None
    """Of the payment, once it was answered."""
    replayed: bool = False


@dataclass
class Till:
    """Payments wanted by several callers, every other one with a key, and what became of them."""

    callers: Sequence[Caller]
    wishes: list[Wish]
    look_at_each: int = 5
    """Every such payment is looked at right after it was accepted."""
    accepted: int = 0
    refusals: Counter[str] = field(default_factory=Counter)
    """By status and code, or by the error's name."""
    surprises: list[str] = field(default_factory=list)
    """Answers that must never be."""
    slowest: float = 0.0
    closed: bool = False
    """Set it, and nobody pays any more."""

    @classmethod
    async def opened(cls, http: httpx.AsyncClient, callers: int, payments: int, *, look_at_each: int = 5) -> "Till":
        """Sign the callers up and share the payments out among them."""
        people = await sign_up_many(http, callers)
        wishes = [
            Wish(people[number % callers], uuid.uuid4().hex if number % 2 else None) for number in range(payments)
        ]
        return cls(people, wishes, look_at_each)

    @property
    def answered(self) -> list[Wish]:
        """Those that were answered with 202 or 201."""
        return [wish for wish in self.wishes if wish.id]

    @property
    def user_ids(self) -> list[str]:
        """Whose payments these are."""
        return [caller.id for caller in self.callers]

    async def pay_all(self) -> None:
        """Let every caller make its payments, one after the other."""

        async def one(caller: Caller) -> None:
            for number, wish in enumerate([wish for wish in self.wishes if wish.caller is caller]):
                if self.closed:
                    return
                await self._pay(wish)
                if wish.id and number % self.look_at_each == 0:
                    await self._look(wish)

        await asyncio.gather(*(one(caller) for caller in self.callers))

    async def wait_until_accepted(self, number: int, *, within: float = 60.0) -> None:
        """Return once so many payments were accepted."""
        await eventually(lambda: self.accepted >= number, within=within, or_else=lambda: f"{self.accepted} accepted")

    async def _pay(self, wish: Wish) -> None:
        """Pay, and try again where that is safe: with a key always, without one where nothing can have been done."""
        deadline = time.monotonic() + GIVE_UP
        headers = {"Idempotency-Key": wish.key} if wish.key else {}
        body = {"amount": 100, "metadata": {"tag": wish.tag}}
        while not self.closed:
            answer, error = await self._request(wish.caller, "POST", "/payments", json=body, headers=headers)
            if answer is not None and answer.status_code in {201, 202}:
                wish.id = answer.json()["id"]
                wish.replayed = "Idempotent-Replayed" in answer.headers
                self.accepted += 1
                return
            nothing_done = isinstance(error, httpx.ConnectError) or (answer is not None and answer.status_code == 503)
            if not wish.key and not nothing_done:
                return
            if time.monotonic() > deadline:
                self.surprises.append(f"not accepted within {GIVE_UP:g} s: {wish}")
                return
            await asyncio.sleep(_AGAIN)

    async def _look(self, wish: Wish) -> None:
        answer, _ = await self._request(wish.caller, "GET", f"/payments/{wish.id}")
        if answer is not None and answer.status_code == 200 and answer.json()["id"] != wish.id:
            self.surprises.append(f"another payment: {answer.text}")

    async def _request(
        self, caller: Caller, method: str, path: str, **more: object
    ) -> tuple[httpx.Response | None, httpx.TransportError | None]:
        began = time.monotonic()
        try:
            answer = await caller(method, path, **more)  # type: ignore[arg-type]
        except httpx.TransportError as error:
            self.refusals[type(error).__name__] += 1
            if isinstance(error, httpx.TimeoutException):
                self.surprises.append(f"{method} {path}: {error!r} after {time.monotonic() - began:.1f} s")
            return None, error
        self.slowest = max(self.slowest, time.monotonic() - began)
        if answer.status_code >= 400:
            is_problem = answer.headers.get("content-type") == PROBLEM
            self.refusals[f"{answer.status_code} {answer.json()['code'] if is_problem else 'no problem+json'}"] += 1
            if answer.status_code not in {503, 504} or not is_problem:
                self.surprises.append(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
        return answer, None
