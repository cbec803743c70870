"""One moment of two databases, their dumps, and what is made of them, on a real PostgreSQL."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from mkstore.backup import database_dumps
from mkstore.backup.database_dumps import Program, connected, one_moment, program
from mkstore.backup.manifest import write_file
from mkstore.backup.stream_snapshots import BackupFailed
from mkstore.stack.servers import PostgresServer, give_database
from tests.support.polling import eventually

_SCHEMA = """
CREATE TABLE alembic_version (version_num text);
INSERT INTO alembic_version VALUES ('0007');
CREATE TABLE outbox (seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY);
CREATE TABLE things (name text PRIMARY KEY);
"""
_WRITE = "WITH added AS (INSERT INTO outbox DEFAULT VALUES) INSERT INTO things VALUES ($1)"


class Databases:
    """Two databases of a server."""

    def __init__(self, server: PostgresServer) -> None:
        self.server = server
        self.urls: Mapping[str, str] = {}

    async def create(self, *schemas: str) -> str:
        name = f"backup_{secrets.token_hex(4)}"
        async with self._superuser() as connection:
            await connection.execute(f"CREATE DATABASE {name}")
        url = self.server.url_of(name)
        for schema in schemas:
            await self.execute(url, schema)
        return url

    async def execute(self, url: str, query: str, *arguments: object) -> None:
        connection = await asyncpg.connect(url)
        try:
            await connection.execute(query, *arguments)
        finally:
            await connection.close()

    async def names(self, url: str) -> list[str]:
        connection = await asyncpg.connect(url)
        try:
            return [row[0] for row in await connection.fetch("SELECT name FROM things ORDER BY name")]
        finally:
            await connection.close()

    @asynccontextmanager
    async def _superuser(self) -> AsyncIterator[asyncpg.Connection]:
        connection = await asyncpg.connect(self.server.url)
        try:
            yield connection
        finally:
            await connection.close()


@pytest.fixture
async def databases(postgres_server: PostgresServer) -> Databases:
    """Return two databases with an outbox."""
    created = Databases(postgres_server)
    created.urls = {"users": await created.create(_SCHEMA), "payments": await created.create(_SCHEMA)}
    return created


async def _dump(held: database_dumps.Held, folder: Path, name: str = "dump") -> Path:
    await write_file(folder, name, database_dumps.dump(program("pg_dump", 18), held))
    return folder / name


async def test_no_event_is_committed_until_the_release(databases: Databases, tmp_path: Path) -> None:
    url, target = databases.urls["users"], await databases.create()
    await databases.execute(url, _WRITE, "before")
    async with one_moment(databases.urls) as moment:
        writing = asyncio.create_task(databases.execute(url, _WRITE, "during"))
        await eventually(lambda: _waits(databases))
        await moment.release()
        await writing
        file = await _dump(moment.held["users"], tmp_path)
    await database_dumps.load(program("pg_restore", 18), "users", target, file)
    assert await databases.names(url) == ["before", "during"]
    assert await databases.names(target) == ["before"]


async def _waits(databases: Databases) -> bool:
    connection = await asyncpg.connect(databases.server.url)
    try:
        query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'WITH added%'"
        return bool(await connection.fetchval(query))
    finally:
        await connection.close()


async def test_transaction_that_does_not_end_is_named(databases: Databases) -> None:
    connection = await asyncpg.connect(databases.urls["payments"])
    try:
        async with connection.transaction():
            await connection.execute(_WRITE, "long")
            with pytest.raises(BackupFailed, match="A transaction in the database of payments takes too long"):
                async with one_moment(databases.urls, lock_timeout=0.1):
                    pass
    finally:
        await connection.close()
    await databases.execute(databases.urls["users"], _WRITE, "free again")


async def test_restored_objects_belong_to_the_owner_of_the_database(databases: Databases, tmp_path: Path) -> None:
    target, role = await databases.create(), f"role_{secrets.token_hex(4)}"
    await give_database(target, role, "password")
    async with one_moment(databases.urls) as moment:
        await moment.release()
        file = await _dump(moment.held["users"], tmp_path)
    await database_dumps.load(program("pg_restore", 18), "users", target, file)
    async with connected("users", target) as connection:
        query = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'"
        assert [row[0] for row in await connection.fetch(query)] == [role]


async def test_restored_schema_replaces_that_of_the_database(databases: Databases, tmp_path: Path) -> None:
    target = await databases.create(
        "CREATE TABLE newer (id int); CREATE TYPE kind AS ENUM ('a'); CREATE TABLE things ()"
    )
    async with one_moment(databases.urls) as moment:
        await moment.release()
        file = await _dump(moment.held["users"], tmp_path)
    await database_dumps.load(program("pg_restore", 18), "users", target, file)
    async with connected("users", target) as connection:
        query = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
        assert [row[0] for row in await connection.fetch(query)] == ["alembic_version", "outbox", "things"]
        assert await database_dumps.full_tables(connection) == []


async def test_damaged_dump_leaves_an_empty_schema(databases: Databases, tmp_path: Path) -> None:
    target, file = await databases.create(_SCHEMA), tmp_path / "dump"
    file.write_bytes(b"PGDMP and nothing else")
    with pytest.raises(BackupFailed, match="pg_restore failed for backup_"):
        await database_dumps.load(program("pg_restore", 18), "users", target, file)
    async with connected("users", target) as connection:
        assert not await connection.fetch("SELECT FROM pg_tables WHERE schemaname = 'public'")


async def test_full_tables_are_listed(databases: Databases) -> None:
    await databases.execute(databases.urls["users"], _WRITE, "one")
    async with connected("users", databases.urls["users"]) as connection:
        assert await database_dumps.full_tables(connection) == ["outbox", "things"]


async def test_mark_is_kept_in_the_database(databases: Databases) -> None:
    for text in ("it's begun", None):
        async with connected("users", databases.urls["users"]) as connection:
            await database_dumps.set_mark(connection, text)
        async with connected("users", databases.urls["users"]) as connection:
            assert await database_dumps.mark(connection) == text


async def test_password_is_in_the_environment_and_not_in_the_command(tmp_path: Path) -> None:
    printing = tmp_path / "pg_dump"
    printing.write_text('#!/bin/sh\necho "$@"\necho "$PGPASSWORD"\n')
    printing.chmod(0o700)
    held = database_dumps.Held("postgresql://users:s%40cret@db.example:5433/users_db?sslmode=require", "1-1", "0007")
    printed = b"".join([chunk async for chunk in database_dumps.dump(Program(str(printing), 18), held)]).decode()
    command, password = printed.splitlines()
    assert command.endswith("--dbname=postgresql://users@db.example:5433/users_db?sslmode=require")
    assert password == "s@cret"


async def test_missing_database_is_named(databases: Databases) -> None:
    with pytest.raises(BackupFailed, match="absent, the database of users, does not exist: create it"):
        async with connected("users", databases.server.url_of("absent")):
            pass


async def test_wrong_password_is_named(databases: Databases) -> None:
    url = databases.urls["users"].replace(databases.server.password, "wrong")
    with pytest.raises(BackupFailed, match=r"database of users: password authentication failed.*DB_PASSWORD"):
        async with connected("users", url):
            pass


async def test_failed_dump_has_the_reason(databases: Databases, tmp_path: Path) -> None:
    held = database_dumps.Held(databases.urls["users"], "0000-1", "0007")
    with pytest.raises(BackupFailed, match=r"pg_dump failed for backup_.*snapshot"):
        await _dump(held, tmp_path)


def test_program_fits_the_server() -> None:
    assert program("pg_dump", 18).major == 18
    with pytest.raises(BackupFailed, match="There is no pg_dump for PostgreSQL 99: install"):
        program("pg_dump", 99)


def test_program_on_the_path_is_taken_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "pg_dump"
    own.write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 18.1 (Distribution 18.1-1)'\n")
    own.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert program("pg_dump", 17) == Program(str(own), 18)
