"""People who pay, sign up, change their names and leave, whatever is broken, and note what they are told."""

import asyncio
import random
import time
from http import HTTPStatus
from uuid import uuid4

from mkstore.chaos.http_client import Answer, Api, Outcome
from mkstore.chaos.ledger import Attempt, Change, Ledger, Person

PASSWORD = "a long enough sentence"  # noqa: S105 - of people who do not exist
_AGAIN = 0.1
_GIVE_UP = 120.0
"""Seconds after which a payment that is refused again and again has failed."""
_PROBE = 0.1
_KEYED, _REPEATED, _LOOKED_AT = 0.5, 0.1, 0.1


async def signed_up(api: Api, number: int) -> list[Person]:
    """Register people who will pay; the store is whole."""
    few = asyncio.Semaphore(4)

    async def one() -> Person:
        person = Person(f"{uuid4()}@example.com")
        async with few:
            answer = await api("POST", "/users", json={"email": person.email, "password": PASSWORD})
            person.id = answer.json["id"]
            form = {"grant_type": "password", "username": person.email, "password": PASSWORD}
            person.token = (await api("POST", "/auth/token", form=form)).json["access_token"]
        return person

    return list(await asyncio.gather(*(one() for _ in range(number))))


class LoadGenerator:
    """Everybody who works on a store during one round, until `stop`."""

    def __init__(self, api: Api, payers: list[Person], ledger: Ledger, *, seed: int, rate: float = 0.0) -> None:
        self._api = api
        self._payers = payers
        self.ledger = ledger
        self._random = random.Random(seed)  # noqa: S311 - a load, no secret
        self._stopped = asyncio.Event()
        self._rate = rate
        self._next = 0.0
        self._work: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Let everybody begin."""
        everybody = [self._pays(payer) for payer in self._payers]
        everybody += [self._joins(), self._probes("look", "/payments?limit=1"), self._probes("who", "/users/me")]
        self._next = time.monotonic()
        self._work = [asyncio.create_task(work) for work in everybody]

    async def stop(self) -> None:
        """Let everybody end what they have begun; a payment with a key is repeated until it is answered."""
        self._stopped.set()
        await asyncio.gather(*self._work)

    async def _pays(self, payer: Person) -> None:
        while not self._stopped.is_set():
            await self._turn()
            wish = Attempt(payer.id or "", uuid4().hex if self._random.random() < _KEYED else None)
            self.ledger.wishes.append(wish)
            first = await self._until_accepted(payer, wish)
            if first is not None and wish.key and self._random.random() < _REPEATED:
                await self._repeat(payer, wish, first)
            if first is not None and self._random.random() < _LOOKED_AT:
                await self._look(payer, wish)

    async def _turn(self) -> None:
        """Wait until it is time for the next payment, where there is a rate to keep."""
        if self._rate:
            self._next = max(self._next, time.monotonic() - 1) + 1 / self._rate
            await asyncio.sleep(max(0.0, self._next - time.monotonic()))

    async def _pay(self, payer: Person, wish: Attempt) -> Answer:
        headers = {"Idempotency-Key": wish.key} if wish.key else {}
        body = {"amount": 100, "metadata": {"tag": wish.tag}}
        return await self._api("POST", "/payments", token=payer.token, headers=headers, json=body)

    async def _until_accepted(self, payer: Person, wish: Attempt) -> Answer | None:
        """Pay, and try again where that is safe: with a key always, without one where nothing can have been done."""
        deadline = time.monotonic() + _GIVE_UP
        while True:
            answer = await self._pay(payer, wish)
            self.ledger.note("pay", answer)
            if answer.outcome is Outcome.DONE:
                wish.id = answer.json["id"]
                self.ledger.accepted += 1
                return answer
            wish.doubtful = wish.doubtful or answer.outcome is Outcome.UNKNOWN
            if not answer.is_away or (wish.doubtful and not wish.key):
                return None
            if not wish.key and self._stopped.is_set():
                return None
            if time.monotonic() > deadline:
                self.ledger.surprises.append(f"not accepted within {_GIVE_UP:g} s: {answer}")
                return None
            await asyncio.sleep(_AGAIN)

    async def _repeat(self, payer: Person, wish: Attempt, first: Answer) -> None:
        again = await self._pay(payer, wish)
        self.ledger.note("repeat", again)
        if again.outcome is not Outcome.DONE:
            return
        if "idempotent-replayed" in again.headers:
            same = (again.status, again.body) == (first.status, first.body)
        else:  # while the payments service was away, the first could not be seen (ADR 3): the same payment all the same
            self.ledger.refusals["202 not known to be a repetition"] += 1
            same = {**again.json, "createdAt": ""} == {**first.json, "createdAt": ""}
        if not same:
            self.ledger.surprises.append(f"a repeated key was answered with {again} after {first}")

    async def _look(self, payer: Person, wish: Attempt) -> None:
        answer = await self._api("GET", f"/payments/{wish.id}", token=payer.token)
        self.ledger.note("look", answer)
        if answer.outcome is Outcome.DONE and answer.json["id"] != wish.id:
            self.ledger.surprises.append(f"another payment than {wish.id}: {answer}")

    async def _probes(self, what: str, path: str) -> None:
        while not self._stopped.is_set():
            self.ledger.note(what, await self._api("GET", path, token=self._payers[0].token))
            await asyncio.sleep(_PROBE)

    async def _joins(self) -> None:
        """Sign somebody up, change the name twice, and leave in every other case; each step is tried once."""
        number = 0
        while not self._stopped.is_set():
            number += 1
            person = Person(f"{uuid4()}@example.com")
            self.ledger.people.append(person)
            body = {"email": person.email, "password": PASSWORD, "name": "0"}
            created = await self._change(person, Change("created", "0"), "POST", "/users", body)
            if created is None:
                await asyncio.sleep(_AGAIN)
                continue
            person.id = created.json["id"]
            form = {"grant_type": "password", "username": person.email, "password": PASSWORD}
            signed_in = await self._api("POST", "/auth/token", form=form)
            self.ledger.note("sign in", signed_in)
            if signed_in.outcome is not Outcome.DONE:
                continue
            person.token = signed_in.json["access_token"]
            for name in ("1", "2"):
                await self._change(person, Change("updated", name), "PATCH", f"/users/{person.id}", {"name": name})
            if number % 2:
                await self._change(person, Change("deleted"), "DELETE", f"/users/{person.id}", None)

    async def _change(
        self, person: Person, change: Change, method: str, path: str, body: dict[str, str] | None
    ) -> Answer | None:
        person.changes.append(change)
        answer = await self._api(method, path, token=person.token, json=body)
        self.ledger.note(change.kind, answer)
        if answer.outcome is Outcome.DONE:
            # A removal answers nothing: its version is the next one.
            change.version = int(answer.headers["etag"].strip('"')) if answer.status != HTTPStatus.NO_CONTENT else -1
            return answer
        change.doubtful = answer.outcome is Outcome.UNKNOWN
        return None
