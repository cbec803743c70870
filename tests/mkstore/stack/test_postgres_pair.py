"""A primary and a standby of PostgreSQL: two copies of each commit, one copy without a hang, and a promotion."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import asyncpg
import pytest
from pydantic import SecretStr
from sqlalchemy import text

from kit import database
from kit.connection_pool import ConnectionPool
from kit.errors import HealthWarning
from kit.ops.copies import check_copies, count_copies
from kit.outbox.leader import lead
from kit.runtime.settings import DatabaseSettings
from kit.runtime.tasks import cancel_and_wait
from mkstore.stack import ports
from mkstore.stack.managed_process import ProcessFailed
from mkstore.stack.replication import Replication
from mkstore.stack.servers.postgres_pair import PostgresNode, pair_of
from mkstore.stack.supervisor import Supervisor
from tests.support.polling import eventually

Pair = tuple[PostgresNode, PostgresNode]


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("pair")
    folder.chmod(0o711)
    nodes = pair_of(folder, password="superuser", log=lambda name: folder / f"{name}.log")
    try:
        for node in nodes:
            node.start()
        yield nodes
    finally:
        for node in nodes:
            node.stop()


@asynccontextmanager
async def replicated(nodes: Pair) -> AsyncIterator[tuple[PostgresNode, PostgresNode]]:
    """Watch the pair, and yield the primary and the standby once each commit has two copies."""
    replication = Replication(nodes, lambda _: None, lambda: None)
    watching = asyncio.create_task(replication.run())
    try:
        primary = replication.primary
        await eventually(lambda: primary.copies.complete)
        yield primary, primary.peer
    finally:
        await cancel_and_wait([watching])


@asynccontextmanager
async def connected(node: PostgresNode) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(node.url)
    try:
        yield connection
    finally:
        connection.terminate()


async def start(node: PostgresNode) -> None:
    """Start a node as the supervisor does, from a thread that lives on: the server ends with the thread."""
    await asyncio.to_thread(node.prepare)
    node.spawn()
    await eventually(node.is_ready)


async def acquired(pool: ConnectionPool) -> asyncpg.Connection | None:
    with suppress(OSError, asyncpg.PostgresError):
        return await pool.acquire()
    return None


def settings_of(nodes: Pair) -> DatabaseSettings:
    class Settings(DatabaseSettings):
        db_database: str = "postgres"

    return Settings(
        db_host=",".join([ports.LOOPBACK] * 2),
        db_port=f"{nodes[1].port},{nodes[0].port}",
        db_user=nodes[0].user,
        db_password=SecretStr(nodes[0].password),
        db_copies=2,
    )


async def test_commit_is_on_the_standby_when_it_returns(nodes: Pair) -> None:
    async with replicated(nodes) as (primary, standby), connected(primary) as writer, connected(standby) as reader:
        await writer.execute("CREATE TABLE IF NOT EXISTS numbers (number int)")
        await writer.execute("INSERT INTO numbers VALUES (1)")
        flushed = await reader.fetchval("SELECT pg_last_wal_receive_lsn()")
        assert flushed >= await writer.fetchval("SELECT pg_current_wal_flush_lsn()")
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await reader.execute("INSERT INTO numbers VALUES (2)")


async def test_every_kind_of_connection_finds_the_primary(nodes: Pair) -> None:
    async with replicated(nodes) as (primary, _):
        settings = settings_of(nodes)
        pool, engine = database.create_pool(settings), database.create_engine(settings)
        connection = await pool.acquire()
        found = [await connection.fetchval("SHOW port")]
        pool.release(connection)
        async with engine.connect() as checking:
            found.append((await checking.execute(text("SHOW port"))).scalar_one())
        async with lead(database.dsn(database.url(settings)), 1) as session:
            found.append((await session.fetch("SHOW port"))[0][0])
        await pool.close()
        await engine.dispose()
        assert found == [str(primary.port)] * 3


async def test_commits_go_on_without_the_standby_and_readiness_warns(nodes: Pair) -> None:
    engine = database.create_engine(settings_of(nodes))
    async with replicated(nodes) as (primary, standby), connected(primary) as writer:
        assert await check_copies(engine, 2) == "PostgreSQL has 2 copies of each commit."
        await asyncio.to_thread(standby.kill)
        await writer.execute("CREATE TABLE alone (number int)")
        assert not primary.copies.complete
        assert primary.copies.alone_since
        with pytest.raises(HealthWarning, match="only one copy"):
            await check_copies(engine, 2)
        await start(standby)
        await eventually(lambda: primary.copies.complete)
        assert await count_copies(engine) == 2
    await engine.dispose()


async def test_promotion_ends_the_former_primary_which_then_follows(nodes: Pair) -> None:
    pool = database.create_pool(settings_of(nodes))
    async with replicated(nodes) as (former, chosen):
        async with connected(former) as writer:
            await writer.execute("CREATE TABLE before (number int)")
        with former.copies.lock():
            former.copies.make_primary(chosen.name)
        await eventually(lambda: not chosen.is_standby)
        assert not former.is_running
        with pytest.raises(ProcessFailed, match="not the primary"):
            former.launch()
        connection = await eventually(lambda: acquired(pool))
        assert connection is not None
        assert await connection.fetchval("SHOW port") == str(chosen.port)
        await connection.execute("INSERT INTO before VALUES (1)")
        pool.release(connection)
        await start(former)
        assert former.is_standby
        await eventually(lambda: chosen.copies.complete)
        async with connected(former) as reader:
            assert await eventually(lambda: reader.fetchval("SELECT count(*) FROM before")) == 1
    await pool.close()


async def test_what_a_former_primary_has_alone_is_undone(nodes: Pair) -> None:
    async with replicated(nodes) as (former, chosen):
        await asyncio.to_thread(chosen.kill)
        async with connected(former) as writer:
            await writer.execute("CREATE TABLE lost (number int)")
        await asyncio.to_thread(former.kill)
        with former.copies.lock():
            former.copies.make_primary(chosen.name)
        await start(chosen)
        await eventually(lambda: not chosen.is_standby)
        await start(former)
        await eventually(lambda: chosen.copies.complete)
        async with connected(former) as reader:
            assert await reader.fetchval("SELECT to_regclass('lost')") is None


async def test_standby_without_data_copies_them(nodes: Pair) -> None:
    async with replicated(nodes) as (primary, standby):
        await asyncio.to_thread(standby.kill)
        standby.data.rename(standby.folder / "removed")
        await start(standby)
        async with connected(primary) as writer:
            await writer.execute("CREATE TABLE again (number int)")
        await eventually(lambda: primary.copies.complete)


def test_primary_that_lost_its_data_is_not_created_anew(tmp_path: Path) -> None:
    one, two = pair_of(tmp_path, password="superuser", log=lambda name: tmp_path / f"{name}.log")
    two.data.mkdir(parents=True)
    with pytest.raises(ProcessFailed, match="postgres-1 has lost its data; postgres-2 has a copy"):
        one.prepare()


async def test_killed_primary_that_is_replaced_while_it_starts_becomes_the_standby(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = pair_of(tmp_path, password="superuser", log=lambda name: tmp_path / f"{name}.log")
    lines: list[str] = []
    supervisor = Supervisor(lines.append, lambda: None, ready_timeout=30)
    await supervisor.start(pair[0])
    await supervisor.start(pair[1])
    try:
        async with replicated(pair) as (former, chosen):
            prepare = former.prepare

            def prepare_and_lose_the_role() -> None:
                prepare()
                with former.copies.lock():
                    former.copies.make_primary(chosen.name)

            monkeypatch.setattr(former, "prepare", prepare_and_lose_the_role)
            await asyncio.to_thread(former.kill)
            await eventually(lambda: not chosen.is_standby, describe=lambda: "\n".join(lines))
            monkeypatch.undo()
            await eventually(
                lambda: former.is_standby and former.is_running and chosen.copies.complete,
                describe=lambda: "\n".join(lines),
            )
    finally:
        await supervisor.stop(*pair)
