"""A part hangs under load: every caller is answered in time, memory stays flat, and all works soon after."""

import asyncio
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx
import psutil
import pytest
from nats.js.api import StreamConfig

from tests.support.http_client import PASSWORD, PROBLEM, calling, say, sign_up
from tests.support.payment_load import Till
from tests.support.polling import eventually
from tests.support.running_store import Running
from tests.support.store_audit import audit_payments, depth, jetstream

DEADLINE, BACK = 2.0, 2.0
"""Seconds: in how many the gateway promises an answer, and to be as ever after a part is back."""
SLACK = 3.0
"""What a machine adds that makes the load as well, beside what needs nothing takes meanwhile; alone it is below 0.5."""
HANGS = 4.0
MOST_MEMORY = 60 << 20

Request = Callable[[], Awaitable[httpx.Response]]


class Crowd:
    """Callers who ask again and again, and what they were told."""

    def __init__(self) -> None:
        self.answers: Counter[int] = Counter()
        self.slowest = 0.0
        self.wrong: list[str] = []

    async def ask(self, request: Request) -> None:
        began = time.monotonic()
        answer = await request()
        self.slowest = max(self.slowest, time.monotonic() - began)
        self.answers[answer.status_code] += 1
        if answer.status_code >= 400 and (
            answer.status_code not in {503, 504} or answer.headers["content-type"] != PROBLEM
        ):
            self.wrong.append(f"{answer.status_code} {answer.text[:200]}")

    @asynccontextmanager
    async def asking(self, number: int, *requests: Request) -> AsyncIterator[None]:
        """Ask from so many sides until the end of the block."""
        done = False

        async def one(at: int) -> None:
            while not done:
                await self.ask(requests[at % len(requests)])
                await asyncio.sleep(0.01)

        tasks = [asyncio.create_task(one(at)) for at in range(number)]
        yield
        done = True
        await asyncio.gather(*tasks)


def memory(mkstore: Running) -> int:
    return int(psutil.Process(mkstore.record["gateway"]["pid"]).memory_info().rss)


@pytest.mark.parametrize("part", ["nats", "users", "payments"])
async def test_while_a_part_hangs_everybody_is_answered_in_time_and_soon_after_as_ever(
    battered: Running, part: str
) -> None:
    async with calling(battered) as http:
        ada, crowd = await sign_up(http), Crowd()
        known = (await ada.paid())["id"]
        requests: list[Request] = [
            lambda: ada("GET", "/users/me"),
            lambda: ada("GET", f"/payments/{known}"),
            lambda: ada.pay(1),
            lambda: ada.pay(2, key=os.urandom(8).hex()),
            lambda: ada("GET", "/payments"),
        ]
        async with crowd.asking(60, *requests):
            await asyncio.sleep(1)  # so that what grows by mere use has grown
        before, usual, crowd, meanwhile = memory(battered), crowd.slowest, Crowd(), Crowd()
        with battered.hung(part):
            began = time.monotonic()
            async with crowd.asking(60, *requests), meanwhile.asking(3, lambda: http.get("/health/live")):
                while time.monotonic() - began < HANGS:
                    await asyncio.sleep(0.1)
                    assert memory(battered) - before < MOST_MEMORY
        back = time.monotonic()

        async def as_ever() -> bool:
            answers = await asyncio.gather(*(request() for request in requests))
            return all(answer.status_code < 300 for answer in answers)

        await eventually(as_ever, within=BACK + SLACK)
        say(f"{part} hung: {dict(crowd.answers)}, slowest {crowd.slowest:.2f} s, back {time.monotonic() - back:.2f} s")
        say(f"what needs nothing took {meanwhile.slowest:.2f} s at most; before it hung, everything {usual:.2f} s")
        assert not crowd.wrong, crowd.wrong[:5]
        assert crowd.answers[503] + crowd.answers[504]
        assert crowd.slowest < DEADLINE + max(usual, meanwhile.slowest) + SLACK


async def test_a_storm_of_sign_ins_is_refused_early_and_the_rest_goes_on(battered: Running) -> None:
    async with calling(battered) as http:
        ada, crowd = await sign_up(http), Crowd()
        form = {"grant_type": "password", "username": ada.email, "password": PASSWORD}

        async def sign_in() -> httpx.Response:
            answer = await http.post("/auth/token", data=form)
            assert answer.status_code != 503 or answer.headers["Retry-After"]
            return answer

        storm = asyncio.gather(*(crowd.ask(sign_in) for _ in range(600)))
        meanwhile = Crowd()
        async with meanwhile.asking(1, lambda: ada("GET", "/users/me")):
            await storm
        say(f"sign-ins: {dict(crowd.answers)}, slowest {crowd.slowest:.2f} s; meanwhile {meanwhile.answers}")
        assert crowd.answers[200]
        assert crowd.answers[503] > crowd.answers[504]
        assert meanwhile.answers[200]
        assert not crowd.wrong

        async def signs_in() -> bool:
            return (await sign_in()).status_code == 200

        await eventually(signs_in, within=BACK + SLACK)


async def test_a_queue_at_its_limit_refuses_payments_and_loses_none(battered: Running) -> None:
    async with calling(battered) as http:
        till = await Till.opened(http, 10, 400)
        async with jetstream(battered) as context:
            config: StreamConfig = (await context.stream_info("PAYMENT_COMMANDS")).config
            limit = config.max_bytes
            try:
                with battered.hung("payments"):
                    config.max_bytes = 10_000
                    paying = asyncio.create_task(till.pay_all())

                    async def enough_are_refused() -> bool:
                        await context.update_stream(config)  # the gateway mends it every few seconds
                        await asyncio.sleep(0.1)
                        return till.refusals["503 service-unavailable"] > 20

                    await eventually(enough_are_refused, within=60)
                    assert 0 < till.accepted < len(till.wishes)
                    assert till.accepted <= await depth(battered, "PAYMENT_COMMANDS")
            finally:
                config.max_bytes = limit
                await context.update_stream(config)
        await paying
        say(await audit_payments(battered, till))
        assert len(till.answered) == len(till.wishes)
