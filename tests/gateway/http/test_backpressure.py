"""Limits of concurrent requests, and the deadline of each."""

import asyncio
from typing import Any
from uuid import UUID

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from apps.gateway.http.backpressure import Capacity, remaining, with_deadline
from kit.batching import BatchLoader
from kit.errors import OutcomeUnknown
from tests.support.clock import Clock
from tests.support.middleware import middleware
from tests.support.polling import eventually


class Slow:
    """An application that responds once `go` is set; the caller of an event stream is the number in its query."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.inside = 0
        self.capacity: Capacity | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.capacity and scope["path"] == "/events":
            self.capacity.become_stream(UUID(int=int(scope["query_string"] or 0)))
        self.inside += 1
        if not scope["path"].startswith("/health"):
            await self.go.wait()
        self.inside -= 1
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


def client(app: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway")


async def test_requests_above_the_limit_are_refused_except_health() -> None:
    slow = Slow()
    slow.capacity = Capacity(requests=3, streams=2, timeout=1)
    async with (
        client(middleware(slow, slow.capacity)) as http,
        asyncio.TaskGroup() as tasks,
    ):
        served = [tasks.create_task(http.get(path)) for path in ("/events", "/events")]
        await eventually(lambda: slow.inside == 2)
        served = [*served, *(tasks.create_task(http.get(path)) for path in ("/x", "/users", "/payments"))]
        await eventually(lambda: slow.inside == 5)
        for path in ("/payments", "/events"):
            refused = await http.get(path)
            assert (refused.status_code, refused.json()["code"]) == (503, "service-unavailable")
            assert refused.headers["retry-after"] == "1"
        assert (await http.get("/health/ready")).status_code == 200
        served.pop().cancel()  # a client that disconnects frees its place
        await eventually(lambda: slow.inside == 5)
        tasks.create_task(http.get("/users"))
        await eventually(lambda: slow.inside == 6)
        slow.go.set()
        assert [(await each).status_code for each in served] == [200] * 4
        assert (await http.get("/payments")).status_code == 200


async def test_event_streams_are_bounded_per_caller_and_take_no_place_of_requests() -> None:
    slow = Slow()
    slow.capacity = Capacity(requests=1, streams=3, streams_per_caller=2, timeout=1)
    async with client(middleware(slow, slow.capacity)) as http, asyncio.TaskGroup() as tasks:
        streams = []
        for number in (1, 1, 2):
            streams.append(tasks.create_task(http.get(f"/events?{number}")))
            await eventually(lambda: slow.inside == len(streams))
        for number, status, code in ((1, 429, "too-many-event-streams"), (2, 503, "service-unavailable")):
            refused = await http.get(f"/events?{number}")
            assert (refused.status_code, refused.json()["code"]) == (status, code)
            assert refused.headers["retry-after"] == "1"
        slow.go.set()
        await asyncio.gather(*streams)
        assert (await http.get("/events?1")).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/auth/sessions"), ("POST", "/users"), ("PUT", "/users/1/password")]
)
async def test_requests_with_a_password_have_a_separate_limit(method: str, path: str) -> None:
    slow = Slow()
    bounded = middleware(slow, Capacity(requests=2, streams=1, passwords=1, timeout=1))
    async with client(bounded) as http, asyncio.TaskGroup() as tasks:
        tasks.create_task(http.request(method, path))
        await eventually(lambda: slow.inside == 1)
        assert (await http.request(method, path)).status_code == 503
        tasks.create_task(http.get("/users"))
        await eventually(lambda: slow.inside == 2)
        slow.go.set()


async def test_steps_of_a_request_share_its_deadline() -> None:
    """It begins with the first step, not with a slow upload."""
    remainders: list[float] = []
    clock = Clock()

    async def hang(items: list[int]) -> list[int]:
        await asyncio.Event().wait()
        return items

    async def steps(scope: Scope, receive: Receive, send: Send) -> None:
        clock.now += 3.0
        remainders.append(remaining(2.0))
        remainders.append(remaining(10.0))
        clock.now += 2.5
        remainders.append(remaining(10.0))
        clock.now += 2.5
        with pytest.raises(OutcomeUnknown, match="users service"):
            await with_deadline(BatchLoader(hang), 1, 50.0, "users service")
        remainders.append(remaining(10.0))
        await Slow()({**scope, "path": "/health"}, receive, send)

    async with client(middleware(steps, Capacity(requests=1, streams=1, timeout=5.0, clock=clock))) as http:
        assert (await http.get("/")).status_code == 200
    assert remainders == [2.0, 5.0, 2.5, 0.05]
    assert remaining(2.0) == 2.0


async def test_waiters_behind_hanging_work_time_out_and_leave_nothing() -> None:
    sizes: list[int] = []
    hanging = asyncio.Event()

    async def work(items: list[int]) -> list[int]:
        sizes.append(len(items))
        await hanging.wait()
        return items

    loader: BatchLoader[int, int] = BatchLoader(work, in_flight=1, max_batch=10)

    async def one(item: int) -> None:
        with pytest.raises(OutcomeUnknown):
            await with_deadline(loader, item, 0.1, "users service")

    await asyncio.gather(*(one(item) for item in range(200)))
    hanging.set()
    assert await loader(7) == 7
    assert sizes == [10, 1]  # without the 190 that gave up
