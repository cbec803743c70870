"""Database errors as the callers of a transaction see them."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from sqlalchemy import URL, BigInteger, CheckConstraint, Column, MetaData, Table, Text, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from kit import database
from kit.connection_pool import ConnectionPool
from kit.database import RefusedByDatabase, Transaction, pool_of
from kit.errors import HealthWarning, OutcomeUnknown, Unavailable
from kit.ops.copies import check_copies
from kit.runtime.settings import DatabaseSettings
from kit.runtime.spans import span
from mkstore.stack.servers import PostgresServer
from tests.support.held_connections import held_connections
from tests.support.recorded_spans import recorded_spans

things = Table(
    "things",
    MetaData(),
    Column("size", BigInteger, CheckConstraint("size > 0", name="it_has_a_size"), primary_key=True),
    Column("email", Text),
)


class Things(Transaction):
    """A transaction that adds rows or runs SQL."""

    async def add(self, **row: Any) -> None:
        await self._connection.execute("INSERT INTO things VALUES ($1, $2)", row["size"], row.get("email"))

    async def run(self, sql: str) -> None:
        await self._connection.execute(sql)


@pytest.fixture(scope="module")
def address(postgres_server: PostgresServer) -> URL:
    """Create a database; return its URL."""
    name = f"kit_{secrets.token_hex(4)}"
    postgres_server.create_databases(name)
    return URL.create(
        "postgresql+asyncpg", postgres_server.user, postgres_server.password, "127.0.0.1", postgres_server.port, name
    )


@pytest.fixture
async def engine(address: URL) -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(address, isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.run_sync(things.metadata.drop_all)
        await connection.run_sync(things.metadata.create_all)
    yield engine
    await engine.dispose()


@pytest.fixture
async def pool(address: URL, engine: AsyncEngine) -> AsyncIterator[ConnectionPool]:
    pool = pool_of(address, 5)
    yield pool
    await pool.close()


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"size": 0}, "CheckViolationError (SQLSTATE 23514), constraint it_has_a_size"),
        ({"size": 1}, "UniqueViolationError (SQLSTATE 23505), constraint things_pkey"),
        ({"size": 2**70}, "DataError (SQLSTATE 22000)"),
        ({"size": 2, "email": "ada@example.com\x00"}, "CharacterNotInRepertoireError (SQLSTATE 22021)"),
        ({"size": 2, "email": "ada@example.com\ud800"}, "DataError (SQLSTATE 22000)"),
    ],
    ids=ascii,
)
async def test_invalid_data_is_reported_without_its_values(
    pool: ConnectionPool, row: dict[str, Any], words: str
) -> None:
    async with Things(pool) as transaction:
        await transaction.add(size=1)
    with pytest.raises(RefusedByDatabase) as refused:
        async with Things(pool) as transaction:
            await transaction.add(**{"email": "ada@example.com"} | row)
    assert str(refused.value) == f"The database refuses this write: {words}."


async def test_deferred_constraint_is_reported_at_commit(pool: ConnectionPool) -> None:
    async with Things(pool) as transaction:
        await transaction.run("ALTER TABLE things ADD CONSTRAINT one_each UNIQUE (email) DEFERRABLE INITIALLY DEFERRED")
        await transaction.add(size=1, email="ada@example.com")
    with pytest.raises(RefusedByDatabase, match=r"constraint one_each\.$"):
        async with Things(pool) as transaction:
            await transaction.add(size=2, email="ada@example.com")


async def test_sql_error_is_not_reported_as_invalid_data(pool: ConnectionPool) -> None:
    with pytest.raises(asyncpg.UndefinedTableError):
        async with Things(pool) as transaction:
            await transaction.run("SELECT nothing FROM nowhere")


async def test_database_that_rejects_connections_is_unavailable(pool: ConnectionPool, address: URL) -> None:
    name = address.database
    async with Things(pool) as transaction:
        await transaction.run("SELECT 1")
    outside = create_async_engine(address.set(database="postgres"), isolation_level="AUTOCOMMIT")
    async with outside.connect() as operator:
        await operator.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false"))
        end = text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name")
        await operator.execute(end, {"name": name})
        for _ in range(2):  # with the terminated connection of the pool, and with a new one
            with pytest.raises(Unavailable):
                async with Things(pool) as transaction:
                    await transaction.run("SELECT 1")
        await operator.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true"))
    async with Things(pool) as transaction:
        await transaction.run("SELECT 1")
    await outside.dispose()


async def test_transaction_of_a_process_that_hangs_releases_its_locks(
    address: URL, pool: ConnectionPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It hangs within a new statement, which asyncpg sends in two parts: to PostgreSQL it is not idle."""
    monkeypatch.setattr(database, "TRANSACTION_TIMEOUT", 0.5)
    limited = pool_of(address, 1)
    hung = await limited.acquire()
    await hung.execute("BEGIN; INSERT INTO things VALUES (1)")
    await hung.prepare("SELECT 'the first part'")
    async with Things(pool) as other:
        await other.add(size=1)  # waits for the transaction that has inserted the same key
    limited.discard(hung)


@pytest.mark.parametrize(("pause", "sql"), [(0.5, "SELECT 1"), (0.0, "SELECT pg_sleep(1)")])
async def test_transaction_that_takes_too_long_is_unavailable(
    address: URL, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch, pause: float, sql: str
) -> None:
    monkeypatch.setattr(database, "TRANSACTION_TIMEOUT", 0.2)
    limited = pool_of(address, 1)

    async def take_too_long() -> None:
        async with Things(limited) as transaction:
            await asyncio.sleep(pause)
            await transaction.run(sql)

    with pytest.raises(Unavailable):
        await take_too_long()
    async with Things(limited) as transaction:
        await transaction.run("SELECT 1")
    await limited.close()


async def test_every_connection_of_a_service_limits_its_transactions(address: URL) -> None:
    class Shop(DatabaseSettings):
        db_database: str = str(address.database)

    login = {"db_host": address.host, "db_port": str(address.port), "db_user": address.username}
    shop = Shop.model_validate(login | {"db_password": address.password})
    pool, engine = database.create_pool(shop), database.create_engine(shop)
    connection = await pool.acquire()
    assert await connection.fetchval("SHOW transaction_timeout") == "10s"
    pool.release(connection)
    async with engine.connect() as other:
        assert (await other.execute(text("SHOW transaction_timeout"))).scalar() == "10s"
    await pool.close()
    await engine.dispose()


async def test_first_trace_of_a_connection_has_its_statement_only(address: URL, engine: AsyncEngine) -> None:
    """A request may be the first one of a new connection, whose limits are set meanwhile."""
    with recorded_spans() as recorded:
        pool = pool_of(address, 1)
        with span("request", "SERVER"):
            async with Things(pool, autocommit=True) as things:
                await things.run("SELECT 1")
        (request,) = recorded.named("request")
        assert [line.split()[0] for line in recorded.tree(request)] == ["request", "SELECT"]
    await pool.close()


async def _end_other_sessions(engine: AsyncEngine) -> None:
    others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    async with engine.connect() as connection:
        await connection.execute(text(f"SELECT pg_terminate_backend(pid) {others}"))


class Refused(Exception):
    """What a use case raises inside its transaction."""


@pytest.mark.parametrize(("ending", "error"), [("query", Unavailable), ("commit", OutcomeUnknown), ("raise", Refused)])
async def test_session_may_end_between_statements(engine: AsyncEngine, ending: str, error: type[Exception]) -> None:
    """The error message of the server has arrived, the end of its connection has not."""

    async def interrupted(things: Things) -> None:
        async with things:
            await things.run("SELECT 1")
            await _end_other_sessions(engine)
            await proxy.wait_closed()
            if ending == "query":
                await things.run("SELECT 1")
            if ending == "raise":
                raise Refused

    async with held_connections(engine.url) as proxy:
        held = pool_of(proxy.address, 1)
        with pytest.raises(error):
            await interrupted(Things(held))
        async with Things(held) as things:  # on a new connection
            await things.run("SELECT 1")
    await held.close()


@pytest.mark.parametrize(("ports", "expected"), [("5432", "5432,5432"), ("5432,5433", "5432,5433")])
def test_several_hosts_are_one_address_for_the_primary(ports: str, expected: str) -> None:
    class Settings(DatabaseSettings):
        db_database: str = "users_db"

    url = database.url(Settings(db_host="one, two", db_port=ports))
    assert url.query == {"host": "one,two", "port": expected, "target_session_attrs": "read-write"}
    assert url.host is None


async def test_server_without_a_standby_has_one_copy_of_each_commit(postgres_server: PostgresServer) -> None:
    engine = create_async_engine(postgres_server.url.replace("postgresql://", "postgresql+asyncpg://"))
    try:
        assert await check_copies(engine, 1) is None
        with pytest.raises(HealthWarning, match="only one copy"):
            await check_copies(engine, 2)
    finally:
        await engine.dispose()
