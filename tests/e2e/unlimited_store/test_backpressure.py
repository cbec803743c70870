"""A process hangs under load: every caller gets an answer, memory stays bounded, and the store recovers."""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx
import pytest

from contracts.streams import KEYED_PAYMENT_COMMANDS, PAYMENT_COMMANDS
from tests.support.audited_load import audited_load
from tests.support.http_client import PASSWORD, PROBLEM, calling, say, sign_up
from tests.support.polling import eventually
from tests.support.running_store import Running
from tests.support.stored_data import queued_payments

MEMORY_LIMIT = 60 << 20
CALLERS = 60
SIGN_INS = 200

Request = Callable[[], Awaitable[httpx.Response]]


class Callers:
    """Callers that send requests; an answer that does not come within the client's timeout fails the test."""

    def __init__(self) -> None:
        self.statuses: Counter[int] = Counter()
        self.unexpected: list[str] = []

    async def send(self, request: Request) -> None:
        answer = await request()
        self.statuses[answer.status_code] += 1
        if answer.status_code >= 400 and (
            answer.status_code not in {503, 504} or answer.headers["content-type"] != PROBLEM
        ):
            self.unexpected.append(f"{answer.status_code} {answer.text[:200]}")

    async def send_each(self, callers: int, *requests: Request, times: int) -> None:
        """Let this number of callers send their requests one after the other; return when all are answered."""

        async def repeat(caller: int) -> None:
            for number in range(times):
                await self.send(requests[(caller + number) % len(requests)])

        await asyncio.gather(*(repeat(caller) for caller in range(callers)))

    @asynccontextmanager
    async def sending(self, request: Request) -> AsyncIterator[None]:
        """Send a request repeatedly until the end of the block."""
        is_over = False

        async def repeat() -> None:
            while not is_over:
                await self.send(request)
                await asyncio.sleep(0.05)

        task = asyncio.create_task(repeat())
        try:
            yield
        finally:
            is_over = True
        await task


@pytest.mark.parametrize("name", ["nats", "users", "payments"])
async def test_every_caller_is_answered_while_a_process_hangs(unlimited_store: Running, name: str) -> None:
    """The process stays stopped until every caller has its answers, so none of them can have waited for it."""
    async with calling(unlimited_store) as http:
        ada, warm_up, callers = await sign_up(http), Callers(), Callers()
        payment = (await ada.paid())["id"]
        requests: list[Request] = [
            lambda: ada("GET", "/users/me"),
            lambda: ada("GET", f"/payments/{payment}"),
            lambda: ada.pay(1),
            lambda: ada.pay(2, key=os.urandom(8).hex()),
            lambda: ada("GET", "/payments"),
        ]
        await warm_up.send_each(CALLERS, *requests, times=3)  # caches and pools have their final size after that
        before = unlimited_store.memory("gateway")
        with unlimited_store.hung(name):
            await callers.send_each(CALLERS, *requests, times=3)
            assert unlimited_store.memory("gateway") - before < MEMORY_LIMIT

        async def is_recovered() -> bool:
            answers = await asyncio.gather(*(request() for request in requests))
            return all(answer.status_code < 300 for answer in answers)

        await eventually(is_recovered)
        say(f"{name} hung: {dict(callers.statuses)}")
        assert not callers.unexpected, callers.unexpected[:5]
        assert callers.statuses[503] + callers.statuses[504]


async def test_storm_of_sign_ins_is_refused_early(unlimited_store: Running) -> None:
    """Other requests still succeed during the storm, and signing in succeeds after it."""
    async with calling(unlimited_store) as http:
        ada, storm, others = await sign_up(http), Callers(), Callers()
        credentials = {"email": ada.email, "password": PASSWORD}

        async def sign_in() -> httpx.Response:
            answer = await http.post("/auth/sessions", json=credentials)
            assert answer.status_code != 503 or answer.headers["Retry-After"]
            return answer

        signing_in = asyncio.gather(*(storm.send(sign_in) for _ in range(SIGN_INS)))
        async with others.sending(lambda: ada("GET", "/users/me")):
            await signing_in
        say(f"sign-ins: {dict(storm.statuses)}; other requests meanwhile: {dict(others.statuses)}")
        assert storm.statuses[201]
        assert storm.statuses[503] > storm.statuses[504]
        assert others.statuses[200]
        assert not storm.unexpected

        async def signs_in() -> bool:
            return (await sign_in()).status_code == 201

        await eventually(signs_in)


async def test_full_queue_refuses_payments_and_loses_none(unlimited_store: Running) -> None:
    store = unlimited_store
    async with audited_load(store, payments=100, start=False) as load, store.jetstream() as jetstream:
        streams = [await jetstream.stream_info(each.name) for each in (PAYMENT_COMMANDS, KEYED_PAYMENT_COMMANDS)]
        full = [each.config.evolve(max_bytes=each.state.bytes + 5_000) for each in streams]
        try:
            with store.hung("payments"):
                load.generator.start()

                async def are_refused() -> bool:
                    for config in full:
                        await jetstream.update_stream(config)  # `mkstore up` restores the limit every few seconds
                    await asyncio.sleep(0.1)
                    return load.ledger.refusals["503 service-unavailable"] > 8

                await eventually(are_refused)
                assert 0 < load.ledger.accepted < 100
                assert load.ledger.accepted <= await queued_payments(store)
        finally:
            for each in streams:
                await jetstream.update_stream(each.config)
    assert load.ledger.accepted == 100
    say(str(load))
