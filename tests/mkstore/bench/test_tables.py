"""SQL on the tables of a contender whose names are not known."""

from collections.abc import AsyncIterator
from secrets import token_hex
from uuid import uuid4

import asyncpg
import pytest

from mkstore.bench.load.tables import column_of, copy_row, table_with
from mkstore.stack.servers import PostgresServer, create_databases


@pytest.fixture
async def database(postgres_server: PostgresServer) -> AsyncIterator[asyncpg.Connection]:
    """Yield a connection to an empty database."""
    name = f"tables_{token_hex(4)}"
    await create_databases(postgres_server.url, [name])
    connection = await asyncpg.connect(postgres_server.url_of(name))
    yield connection
    await connection.close()


@pytest.mark.parametrize(
    ("create", "identity"),
    [
        ('CREATE TABLE "order" (id uuid PRIMARY KEY, amount int, "createdAt" timestamptz)', "$1::uuid"),
        ('CREATE TABLE "order" (id serial PRIMARY KEY, amount int, "createdAt" timestamptz)', "length($1::text)"),
    ],
)
async def test_rows_are_copied_whatever_their_id(database: asyncpg.Connection, create: str, identity: str) -> None:
    await database.execute(create)
    table = await table_with(database, "amount")
    assert table == '"order"'
    await database.execute(f"INSERT INTO {table} VALUES ({identity}, 5, '2026-01-01Z')", str(uuid4()))  # noqa: S608
    created = await column_of(database, table, "created_at", "createdAt")
    changed = {created.strip('"'): "timestamptz '2026-01-01Z' - n * interval '1 day'"}
    await copy_row(database, table, 3, changed, where="amount = 5")
    rows = await database.fetch(f'SELECT amount, "createdAt"::date::text AS day FROM {table} ORDER BY day')  # noqa: S608
    days = ["2025-12-29", "2025-12-30", "2025-12-31", "2026-01-01"]
    assert [(row["amount"], row["day"]) for row in rows] == [(5, day) for day in days]


async def test_a_missing_table_or_column_is_found_out(database: asyncpg.Connection) -> None:
    await database.execute("CREATE TABLE users (id int)")
    assert await table_with(database, "amount") is None
    with pytest.raises(LookupError, match="created_at, createdAt"):
        await column_of(database, "users", "created_at", "createdAt")
