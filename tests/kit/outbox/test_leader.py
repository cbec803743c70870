"""Leader election: the lease of a session, and relay processes whose leader hangs or dies."""

import asyncio
import itertools
import signal
import sys
from collections.abc import AsyncIterator
from typing import Self
from uuid import UUID, uuid4

import psutil
import pytest

from kit.messaging.broker import Broker
from kit.outbox.leader import LEASE, lead
from kit.runtime.tasks import cancel_and_wait
from kit.runtime.tracing import Trace
from mkstore.stack.servers import NatsServer
from tests.conftest import ROOT
from tests.support.outbox_events import Emission, LeaderLocks, OutboxSource
from tests.support.polling import eventually

LOCK = 1


@pytest.mark.parametrize(("lease", "limit"), [(0.2, "200ms"), (LEASE, "1200ms")])
async def test_server_limits_idle_time_to_the_lease(source: OutboxSource, lease: float, limit: str) -> None:
    async with lead(source.dsn, LOCK, lease=lease) as session:
        for setting in ("idle_session_timeout", "idle_in_transaction_session_timeout"):
            ((shown,),) = await session.fetch(f"SHOW {setting}")
            assert shown == limit


async def test_server_ends_the_session_of_an_idle_leader(source: OutboxSource, leaders: LeaderLocks) -> None:
    async with lead(source.dsn, LOCK, lease=0.2):
        await eventually(lambda: _is_free(leaders))


async def test_server_ends_the_session_of_a_leader_that_hangs_within_a_statement(
    source: OutboxSource, leaders: LeaderLocks
) -> None:
    """asyncpg sends a new statement in two parts; between them the session is neither idle nor runs a statement."""
    async with lead(source.dsn, LOCK, lease=0.2) as session:
        await session._connection.prepare("SELECT 'the first part'")  # noqa: SLF001 - the second part never follows
        await eventually(lambda: _is_free(leaders))


async def test_waiting_for_the_lead_has_no_limit(source: OutboxSource, leaders: LeaderLocks) -> None:
    async with lead(source.dsn, LOCK, lease=0.1) as first:
        kept = asyncio.create_task(first.keep_alive())
        waiting = asyncio.create_task(_lead_at_once(source.dsn))
        await eventually(lambda: _waits(leaders))
        await asyncio.sleep(1)
        assert not waiting.done()
        await cancel_and_wait([kept])
    await waiting


async def _lead_at_once(dsn: str) -> None:
    async with lead(dsn, LOCK, lease=0.1) as session:
        assert await session.fetch("SELECT 1")


async def _waits(leaders: LeaderLocks) -> bool:
    return await leaders.locks(granted=False) == 1


async def _is_free(leaders: LeaderLocks) -> bool:
    return await leaders.locks(granted=True) == 0


@pytest.fixture
async def leaders(source: OutboxSource) -> AsyncIterator[LeaderLocks]:
    leaders = await LeaderLocks.of(source)
    yield leaders
    await leaders.connection.close()


class Replicas:
    """Relay processes, and which of them leads."""

    def __init__(self, source: OutboxSource, nats_url: str, leaders: LeaderLocks) -> None:
        self._arguments = (
            source.address.render_as_string(hide_password=False),
            nats_url,
            source.stream.model_dump_json(),
        )
        self._leaders = leaders
        self._processes: list[asyncio.subprocess.Process] = []

    async def start(self) -> None:
        self._processes.append(
            await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.support.relay_process"), *self._arguments, cwd=ROOT
            )
        )

    async def leader(self) -> asyncio.subprocess.Process:
        """Wait until one process leads and all others wait for the lock; return it."""
        leader = await eventually(self._leader)
        assert leader is not None
        return leader

    async def _leader(self) -> asyncio.subprocess.Process | None:
        if await self._leaders.locks(granted=False) < len(self._processes) - 1:
            return None
        port = await self._leaders.port()
        for process in self._processes:
            if port in _ports(process.pid):
                return process
        return None

    async def kill(self) -> None:
        for process in self._processes:
            if process.returncode is None:
                process.kill()
            await process.wait()


def _ports(pid: int) -> set[int]:
    return {connection.laddr.port for connection in psutil.Process(pid).net_connections()}


@pytest.fixture
async def replicas(source: OutboxSource, nats_server: NatsServer, leaders: LeaderLocks) -> AsyncIterator[Replicas]:
    replicas = Replicas(source, nats_server.url, leaders)
    try:
        for _ in range(2):
            await replicas.start()
        yield replicas
    finally:
        await replicas.kill()


class Load:
    """Emits events of some aggregates, version by version, until the end of the block."""

    def __init__(self, source: OutboxSource) -> None:
        self.aggregates = [uuid4() for _ in range(5)]
        self.emitted = 0
        self._source = source
        self._end = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._emit_all())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._end.set()
        await self._task

    async def _emit_all(self) -> None:
        for version in itertools.count(1):
            async with Emission(self._source.connections) as emission:
                events = [self._source.event(id=aggregate, number=version) for aggregate in self.aggregates]
                await emission.emit(*((event, Trace()) for event in events))
            self.emitted += len(events)
            if self._end.is_set():
                return
            await asyncio.sleep(0.01)


async def _published(source: OutboxSource, broker: Broker) -> int:
    return (await broker.jetstream.stream_info(source.stream.name)).state.messages


async def _wait_published(source: OutboxSource, broker: Broker, count: int) -> None:
    """Wait until `count` further events are published."""
    before = await _published(source, broker)

    async def enough() -> bool:
        return await _published(source, broker) >= before + count

    await eventually(enough)


async def test_hung_or_dead_leader_is_replaced_without_duplicates_or_reordering(
    source: OutboxSource, broker: Broker, replicas: Replicas
) -> None:
    hung: set[int] = set()
    async with Load(source) as load:
        for _ in range(3):
            leader = await replicas.leader()
            await _wait_published(source, broker, 1)
            leader.send_signal(signal.SIGSTOP)
            # The next leader also publishes what this one had in flight.
            await _wait_published(source, broker, 1 + len(load.aggregates))
            leader.send_signal(signal.SIGCONT)  # it finds its session gone and waits for the lock
            hung.add(leader.pid)
        leader = await replicas.leader()
        leader.kill()
        await _wait_published(source, broker, 1 + len(load.aggregates))
    await eventually(source.all_sent)
    assert len(hung) == 2
    sent = await source.events(broker)
    assert len(sent) == load.emitted
    assert len({(message.headers or {})["Nats-Msg-Id"] for message in sent}) == load.emitted
    versions: dict[UUID, list[int]] = {aggregate: [] for aggregate in load.aggregates}
    for message in sent:
        event = source.event.model_validate_json(message.data)
        versions[event.id].append(event.number)
    for numbers in versions.values():
        assert numbers == sorted(numbers)
