"""Leader election between two relay processes, one of which dies or hangs."""

import asyncio
import itertools
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import partial
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

TAKEOVER_TIMEOUT = 2.0
"""Seconds within which another replica publishes what is committed after the leader died or hung."""


@pytest.fixture
async def broker(nats_server: NatsServer, source: OutboxSource) -> AsyncIterator[Broker]:
    broker = Broker(nats_server.url, name="tests", streams=[source.stream])
    await broker.start()
    yield broker
    await broker.stop()


class Replicas:
    """Relay processes, and which of them leads."""

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
        """Return the process that leads; None until there is one and all others wait for the lock."""
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
    leader = await eventually(replicas.leader)
    assert leader is not None
    return leader


async def _takeover_seconds(source: OutboxSource) -> float:
    """Emit an event and return the seconds until it is published."""
    began = time.monotonic()
    await source.emit(1)
    await eventually(source.all_sent)
    return time.monotonic() - began


async def _published(source: OutboxSource, broker: Broker) -> int:
    return (await broker.jetstream.stream_info(source.stream.name)).state.messages


async def _published_since(source: OutboxSource, broker: Broker, before: int) -> bool:
    return await _published(source, broker) > before


async def test_killed_leader_is_replaced_within_two_seconds(
    source: OutboxSource, broker: Broker, replicas: Replicas
) -> None:
    leader = await _leader(replicas)
    leader.kill()
    assert await _takeover_seconds(source) < TAKEOVER_TIMEOUT


async def test_hanging_leader_is_replaced_within_two_seconds(
    source: OutboxSource, broker: Broker, replicas: Replicas
) -> None:
    hung = []
    for _ in range(3):
        leader = await _leader(replicas)
        leader.send_signal(signal.SIGSTOP)
        assert await _takeover_seconds(source) < TAKEOVER_TIMEOUT
        leader.send_signal(signal.SIGCONT)  # it finds its session gone and waits for the lock
        hung.append(leader.pid)
    assert len(set(hung)) == 2


async def test_events_stay_in_order_and_single_while_leaders_hang_and_resume(
    source: OutboxSource, broker: Broker, replicas: Replicas
) -> None:
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
    for _ in range(3):
        leader = await _leader(replicas)
        await eventually(partial(_published_since, source, broker, await _published(source, broker)))
        leader.send_signal(signal.SIGSTOP)
        before = await _published(source, broker)  # the next leader also publishes what this one had in flight
        await eventually(partial(_published_since, source, broker, before + len(aggregates)))
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
    for numbers in versions.values():
        assert numbers == sorted(numbers)
