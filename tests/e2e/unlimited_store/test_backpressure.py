"""A process hangs under load: every caller gets an answer, memory stays bounded, and the store recovers."""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx
import psutil
import pytest
from nats.js.api import StreamConfig

from tests.support.http_client import PASSWORD, PROBLEM, calling, say, sign_up
from tests.support.payment_load import PaymentLoad
from tests.support.polling import eventually
from tests.support.running_store import Running
from tests.support.store_audit import audit_payments, depth, jetstream

MEMORY_LIMIT = 60 << 20
CALLERS = 60

Request = Callable[[], Awaitable[httpx.Response]]


class Callers:
    """Callers that repeat requests; an answer that does not come within the client's timeout fails the test."""

    def __init__(self) -> None:
        self.statuses: Counter[int] = Counter()
        self.answered: Counter[int] = Counter()
        """Answers by caller."""
        self.unexpected: list[str] = []

    async def send(self, request: Request) -> None:
        answer = await request()
        self.statuses[answer.status_code] += 1
        if answer.status_code >= 400 and (
            answer.status_code not in {503, 504} or answer.headers["content-type"] != PROBLEM
        ):
            self.unexpected.append(f"{answer.status_code} {answer.text[:200]}")

    @asynccontextmanager
    async def sending(self, callers: int, *requests: Request) -> AsyncIterator[None]:
        """Send from this number of callers until the end of the block."""
        is_over = False

        async def repeat(caller: int) -> None:
            while not is_over:
                await self.send(requests[caller % len(requests)])
                self.answered[caller] += 1
                await asyncio.sleep(0.01)

        tasks = [asyncio.create_task(repeat(caller)) for caller in range(callers)]
        try:
            yield
        finally:
            is_over = True
        await asyncio.gather(*tasks)

    async def wait_until_all_answered(self, callers: int, *, times: int) -> None:
        """Return once each caller has this number of answers."""
        await eventually(
            lambda: all(self.answered[caller] >= times for caller in range(callers)),
            describe=lambda: str(self.answered),
        )


def memory(mkstore: Running) -> int:
    return int(psutil.Process(mkstore.record["gateway"]["pid"]).memory_info().rss)


@pytest.mark.parametrize("part", ["nats", "users", "payments"])
async def test_every_caller_is_answered_while_a_process_hangs(unlimited_store: Running, part: str) -> None:
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
        async with warm_up.sending(CALLERS, *requests):  # caches and pools have their final size after that
            await warm_up.wait_until_all_answered(CALLERS, times=5)
        before = memory(unlimited_store)
        async with callers.sending(CALLERS, *requests):
            with unlimited_store.hung(part):
                callers.answered.clear()
                await callers.wait_until_all_answered(CALLERS, times=2)
                assert memory(unlimited_store) - before < MEMORY_LIMIT

            async def is_recovered() -> bool:
                answers = await asyncio.gather(*(request() for request in requests))
                return all(answer.status_code < 300 for answer in answers)

            await eventually(is_recovered)
        say(f"{part} hung: {dict(callers.statuses)}")
        assert not callers.unexpected, callers.unexpected[:5]
        assert callers.statuses[503] + callers.statuses[504]


async def test_storm_of_sign_ins_is_refused_early(unlimited_store: Running) -> None:
    """Other requests still succeed during the storm, and signing in succeeds after it."""
    async with calling(unlimited_store) as http:
        ada, storm, others = await sign_up(http), Callers(), Callers()
        form = {"grant_type": "password", "username": ada.email, "password": PASSWORD}

        async def sign_in() -> httpx.Response:
            answer = await http.post("/auth/token", data=form)
            assert answer.status_code != 503 or answer.headers["Retry-After"]
            return answer

        signing_in = asyncio.gather(*(storm.send(sign_in) for _ in range(600)))
        async with others.sending(1, lambda: ada("GET", "/users/me")):
            await signing_in
        say(f"sign-ins: {dict(storm.statuses)}; other requests meanwhile: {dict(others.statuses)}")
        assert storm.statuses[200]
        assert storm.statuses[503] > storm.statuses[504]
        assert others.statuses[200]
        assert not storm.unexpected

        async def signs_in() -> bool:
            return (await sign_in()).status_code == 200

        await eventually(signs_in)


async def test_full_queue_refuses_payments_and_loses_none(unlimited_store: Running) -> None:
    async with calling(unlimited_store) as http:
        load = await PaymentLoad.create(http, 10, 400)
        async with jetstream(unlimited_store) as context:
            config: StreamConfig = (await context.stream_info("PAYMENT_COMMANDS")).config
            limit = config.max_bytes
            try:
                with unlimited_store.hung("payments"):
                    config.max_bytes = 10_000
                    paying = asyncio.create_task(load.run())

                    async def are_refused() -> bool:
                        await context.update_stream(config)  # the gateway restores the limit every few seconds
                        await asyncio.sleep(0.1)
                        return load.refusals["503 service-unavailable"] > 20

                    await eventually(are_refused)
                    assert 0 < load.accepted < len(load.attempts)
                    assert load.accepted <= await depth(unlimited_store, "PAYMENT_COMMANDS")
            finally:
                config.max_bytes = limit
                await context.update_stream(config)
        await paying
        say(await audit_payments(unlimited_store, load))
        assert len(load.answered) == len(load.attempts)
