"""Mixed traffic with a fixed number of requests per second, and event streams beside it."""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

from kit.runtime.tasks import cancel_and_wait
from mkstore.bench.load.calls import Call
from mkstore.bench.load.target import Account, Target
from mkstore.bench.scenarios.stream_client import EventClient, open_streams
from mkstore.chaos.http_client import Api

STREAMS = 20
"""Event streams that are open at any time."""
_STREAM_SECONDS = 20.0
"""How long a stream is open before the next one takes its place."""
_FAULTS_KEPT = 20
_SHARES = {
    "read a user": 50,
    "pay": 20,
    "read a payment": 13,
    "list payments": 10,
    "read over a new connection": 5,
    "sign in": 2,
}
"""Hundredths of the requests."""


class Traffic:
    """Sends requests to a store, whether or not the earlier ones have ended, and counts the outcomes."""

    def __init__(self, target: Target, random: Random) -> None:
        self.outcomes: Counter[str] = Counter()
        """Good responses by operation."""
        self.faults: list[str] = []
        """The first responses that were not good."""
        self.failed = 0
        self.slowest = 0.0
        """Seconds of the slowest response."""
        self.streams = 0
        """Event streams that were opened."""
        self._target = target
        self._random = random
        self._payments: deque[Call] = deque(maxlen=1000)
        self._running: set[asyncio.Task[None]] = set()

    async def run(self, rate: float, seconds: float) -> None:
        """Send `rate` requests per second for a time, and return when each has its response."""
        async with Api(self._target.url) as api:
            operations: dict[str, Callable[[], Awaitable[None]]] = {
                "read a user": lambda: self._send(api, "read a user", self._target.get_user(self._user())),
                "pay": lambda: self._pay(api),
                "read a payment": lambda: self._read_payment(api),
                "list payments": lambda: self._send(api, "list payments", self._target.list_payments(self._user())),
                "read over a new connection": self._read_over_a_new_connection,
                "sign in": lambda: self._sign_in(api),
            }
            streaming = asyncio.create_task(self._keep_streams_open())
            loop = asyncio.get_running_loop()
            start = loop.time()
            try:
                for number in range(round(rate * seconds)):
                    await asyncio.sleep(max(0.0, start + number / rate - loop.time()))
                    [name] = self._random.choices(list(_SHARES), list(_SHARES.values()))
                    task = asyncio.ensure_future(operations[name]())
                    self._running.add(task)
                    task.add_done_callback(self._running.discard)
                await asyncio.gather(*self._running)
            finally:
                await cancel_and_wait([streaming, *self._running])
            if streaming.done() and not streaming.cancelled() and (error := streaming.exception()):
                raise error

    @property
    def requests(self) -> int:
        """Responses so far."""
        return self.outcomes.total() + self.failed

    def _user(self) -> Account:
        return self._random.choice(self._target.users)

    async def _send(self, api: Api, name: str, call: Call) -> Any:
        answer = await call.send(api)
        self.slowest = max(self.slowest, answer.seconds)
        if fault := call.fault(answer):
            self._fail(f"{name}: {fault}")
            return None
        self.outcomes[name] += 1
        return answer.json

    def _fail(self, fault: str) -> None:
        self.failed += 1
        if len(self.faults) < _FAULTS_KEPT:
            self.faults.append(fault)

    async def _pay(self, api: Api) -> None:
        user = self._user()
        payment = await self._send(api, "pay", self._target.pay(user, self._random, keyed=True))
        if payment:
            self._payments.append(self._target.get_payment(user, payment["id"]))

    async def _read_payment(self, api: Api) -> None:
        if self._payments:
            await self._send(api, "read a payment", self._random.choice(self._payments))

    async def _read_over_a_new_connection(self) -> None:
        async with Api(self._target.url, connections=1) as api:
            await self._send(api, "read over a new connection", self._target.get_user(self._user()))

    async def _sign_in(self, api: Api) -> None:
        if self._target.sign_in:
            await self._send(api, "sign in", self._target.sign_in(self._user()))

    async def _keep_streams_open(self) -> None:
        """Hold `STREAMS` event streams; the oldest is closed when the next one opens."""
        open_now: deque[EventClient] = deque()
        try:
            while True:
                began = time.monotonic()
                [client] = await open_streams(self._target.url, [self._user()])
                if " 200 " not in client.status_line:
                    self._fail(f"event stream: {client.status_line}")
                self.streams += 1
                open_now.append(client)
                if len(open_now) > STREAMS:
                    oldest = open_now.popleft()
                    if oldest.is_closed:
                        self._fail("event stream: the server closed it")
                    oldest.close()
                await asyncio.sleep(max(0.0, began + _STREAM_SECONDS / STREAMS - time.monotonic()))
        finally:
            for client in open_now:
                client.close()
