"""The gateway takes so much at once and refuses the rest; what it took it answers in its time."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any
from uuid import uuid4

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from apps.gateway.http.backpressure import ConcurrencyLimit, remaining, with_deadline
from apps.gateway.payments.waiters import Waiters
from kit.batching import BatchLoader
from kit.errors import OutcomeUnknown
from tests.support.polling import eventually


class Slow:
    """An application that answers when it is told to."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.inside = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.inside += 1
        if not scope["path"].startswith("/health"):
            await self.go.wait()
        self.inside -= 1
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


def client(app: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway")


async def test_what_is_too_much_is_refused_at_once_and_health_never_is() -> None:
    slow = Slow()
    async with client(ConcurrencyLimit(slow, requests=3, streams=2, seconds=1)) as http, asyncio.TaskGroup() as tasks:
        taken = [tasks.create_task(http.get(path)) for path in ("/payments", "/users", "/x", "/events", "/events")]
        await eventually(lambda: slow.inside == 5)
        for path in ("/payments", "/events"):
            refused = await http.get(path)
            assert (refused.status_code, refused.json()["code"]) == (503, "service-unavailable")
            assert refused.headers["retry-after"] == "1"
        assert (await http.get("/health/ready")).status_code == 200
        taken.pop().cancel()  # a client that goes away makes room
        await eventually(lambda: slow.inside == 5)
        tasks.create_task(http.get("/events"))
        await eventually(lambda: slow.inside == 6)
        slow.go.set()
        assert [(await each).status_code for each in taken] == [200] * 4
        assert (await http.get("/payments")).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/auth/token"), ("POST", "/users"), ("PUT", "/users/1/password")]
)
async def test_too_many_passwords_are_refused_and_nothing_else_is(method: str, path: str) -> None:
    slow = Slow()
    bounded = ConcurrencyLimit(slow, requests=2, streams=1, passwords=1, seconds=1)
    async with client(bounded) as http, asyncio.TaskGroup() as tasks:
        tasks.create_task(http.request(method, path))
        await eventually(lambda: slow.inside == 1)
        assert (await http.request(method, path)).status_code == 503
        tasks.create_task(http.get("/users"))
        await eventually(lambda: slow.inside == 2)
        slow.go.set()


async def test_the_steps_of_one_request_share_its_time_and_a_slow_upload_takes_none_of_it() -> None:
    lefts: list[float] = []

    async def steps(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(0.3)
        lefts.append(remaining(0.2))
        lefts.append(remaining(1.0))
        await asyncio.sleep(0.25)
        lefts.append(remaining(1.0))
        with pytest.raises(OutcomeUnknown, match="users service"):
            await with_deadline(asyncio.Event().wait(), 5.0, "users service")
        lefts.append(remaining(1.0))
        await Slow()({**scope, "path": "/health"}, receive, send)

    async with client(ConcurrencyLimit(steps, requests=1, streams=1, seconds=0.5)) as http:
        assert (await http.get("/")).status_code == 200
    assert lefts[0] == 0.2
    assert 0.4 < lefts[1] <= 0.5
    assert 0.05 <= lefts[2] <= 0.3
    assert lefts[3] == 0.05
    assert remaining(2.0) == 2.0


async def test_who_waits_behind_work_that_hangs_is_answered_in_time_and_leaves_nothing() -> None:
    sizes: list[int] = []
    hanging = asyncio.Event()

    async def work(items: list[int]) -> list[int]:
        sizes.append(len(items))
        await hanging.wait()
        return items

    gather: BatchLoader[int, int] = BatchLoader(work, in_flight=1, most=10)

    async def one(item: int) -> None:
        with pytest.raises(OutcomeUnknown):
            await with_deadline(gather(item), 0.1, "users service")

    began = asyncio.get_running_loop().time()
    await asyncio.gather(*(one(item) for item in range(200)))
    assert asyncio.get_running_loop().time() - began < 1
    hanging.set()
    assert await gather(7) == 7  # at once, and not behind those who have gone
    assert sizes == [10, 1]
    assert not gather._waiting


async def test_those_who_wait_for_payments_leave_room_for_the_others() -> None:
    waiters = Waiters(most=2)
    async with AsyncExitStack() as stack:
        recorded = [stack.enter_context(waiters.expect(uuid4())) for _ in range(3)]
        waiting = [asyncio.ensure_future(each(30)) for each in recorded[:2]]
        await asyncio.sleep(0)
        assert await asyncio.wait_for(recorded[2](30), 1) is None
        waiting[0].cancel()
        await asyncio.wait(waiting[:1])
        third = asyncio.ensure_future(recorded[2](30))
        await asyncio.sleep(0)
        assert not third.done()
        for each in (waiting[1], third):
            each.cancel()
