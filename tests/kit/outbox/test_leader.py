"""Two replicas of a service, as processes: when the one that relays dies or hangs, the other goes on."""

import asyncio
import itertools
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from uuid import UUID, uuid4

import psutil
import pytest

from kit.messaging.broker import Broker
from kit.outbox.table import emit
from kit.runtime.tracing import Trace
from mkstore.stack.servers import NatsServer
from tests.conftest import ROOT
from tests.support.outbox_events import TABLE, LeaderLocks, OutboxSource
from tests.support.polling import eventually

TAKEN_OVER = 2.0
"""Seconds within which another replica sends what was committed after the leader died or hung."""


@pytest.fixture
async def broker(nats_server: NatsServer, source: OutboxSource) -> AsyncIterator[Broker]:
    broker = Broker(nats_server.url, name="tests", streams=[source.stream])
    await broker.start()
    yield broker
    await broker.stop()


class Replicas:
    """Processes that relay, and who of them leads."""

    def __init__(self, source: OutboxSource, nats_url: str, leaders: LeaderLocks) -> None:
        self._arguments = (
            source.address.render_as_string(hide_password=False),
            nats_url,
            source.stream.model_dump_json(),
        )
        self._leaders = leaders
        self.processes: list[asyncio.subprocess.Process] = []

    async def start(self) -> None:
        self.processes.append(
            await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.support.relay_process"), *self._arguments, cwd=ROOT
            )
        )

    async def leader(self) -> asyncio.subprocess.Process | None:
        """Return the process that leads, once there is one and all others wait for its place."""
        if await self._leaders.locks(granted=False) < len(self.processes) - 1:
            return None
        port = await self._leaders.port()
        for process in self.processes:
            if port in _ports(process.pid):
                return process
        return None

    async def end(self) -> None:
        for process in self.processes:
            if process.returncode is None:
                process.kill()
            await process.wait()


def _ports(pid: int) -> set[int]:
    return {connection.laddr.port for connection in psutil.Process(pid).net_connections()}


@pytest.fixture
async def replicas(source: OutboxSource, nats_server: NatsServer) -> AsyncIterator[Replicas]:
    async with AsyncExitStack() as stack:
        leaders = await LeaderLocks.of(source)
        stack.push_async_callback(leaders.connection.close)
        replicas = Replicas(source, nats_server.url, leaders)
        stack.push_async_callback(replicas.end)
        for _ in range(2):
            await replicas.start()
        yield replicas


async def _leader(replicas: Replicas) -> asyncio.subprocess.Process:
    found = await eventually(replicas.leader, within=20)
    assert found is not None
    return found


async def _taken_over(source: OutboxSource) -> float:
    """Emit, and return after how many seconds it was sent."""
    began = time.monotonic()
    await source.emit(1)
    await eventually(source.all_sent)
    taken = time.monotonic() - began
    print(f"taken over after {taken:.2f} s")  # noqa: T201 - pytest -s shows it
    return taken


async def test_when_the_leader_is_killed_the_other_sends_within_two_seconds(
    source: OutboxSource, broker: Broker, replicas: Replicas
) -> None:
    leader = await _leader(replicas)
    leader.kill()
    assert await _taken_over(source) < TAKEN_OVER


async def test_when_the_leader_hangs_the_other_sends_within_two_seconds_again_and_again(
    source: OutboxSource, broker: Broker, replicas: Replicas
) -> None:
    hung = []
    for _ in range(3):
        leader = await _leader(replicas)
        leader.send_signal(signal.SIGSTOP)
        assert await _taken_over(source) < TAKEN_OVER
        leader.send_signal(signal.SIGCONT)  # it finds out by itself, and waits for its turn
        hung.append(leader.pid)
    assert len(set(hung)) == 2


async def test_what_is_sent_under_load_while_leaders_hang_and_wake_is_there_once_and_in_order(
    source: OutboxSource, broker: Broker, replicas: Replicas
) -> None:
    """An event's number is its aggregate's version."""
    aggregates = [uuid4() for _ in range(5)]
    emitted = 0
    enough = asyncio.Event()

    async def emit_all() -> None:
        nonlocal emitted
        for version in itertools.count(1):
            async with source.pool.begin() as connection:
                events = [source.event(id=aggregate, number=version) for aggregate in aggregates]
                await emit(connection, TABLE, [(event, Trace()) for event in events])
            emitted += len(events)
            if enough.is_set():
                return

    emitting = asyncio.create_task(emit_all())
    for _ in range(4):
        leader = await _leader(replicas)
        await asyncio.sleep(0.2)
        leader.send_signal(signal.SIGSTOP)
        await asyncio.sleep(2)  # another one leads, and sends what this one had under way
        leader.send_signal(signal.SIGCONT)
    enough.set()
    await emitting
    await eventually(source.all_sent)
    sent = await source.events(broker)
    assert len(sent) == emitted
    assert len({(message.headers or {})["Nats-Msg-Id"] for message in sent}) == emitted
    versions: dict[UUID, list[int]] = {aggregate: [] for aggregate in aggregates}
    for message in sent:
        event = source.event.model_validate_json(message.data)
        versions[event.id].append(event.number)
    for found in versions.values():
        assert found == sorted(found)
