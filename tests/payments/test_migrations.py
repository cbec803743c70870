"""The migrations give the schema of the models, each can be undone, and each kind of page has an index."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from apps.payments.main import MIGRATIONS
from apps.payments.models import Table
from kit import database
from kit.ops.revisions import newest_revision
from kit.ops.schema import SchemaOutdated, check_schema
from tests.conftest import NewDatabase
from tests.payments.conftest import settings_for

ALEMBIC = Config(MIGRATIONS.with_name("alembic.ini"))


@pytest.fixture
async def pool(new_database: NewDatabase, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AsyncEngine]:
    """Return connections to a migrated database; the environment variables name it, too."""
    environment = new_database("payments")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    engine = database.create_engine(settings_for(environment, "nats://127.0.0.1:1"))
    yield engine
    await engine.dispose()


async def differences(pool: AsyncEngine) -> list[object]:
    """Return the differences between the database and the models."""

    def compare(connection: Connection) -> list[object]:
        options = {"compare_type": True, "compare_server_default": True}
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), Table.metadata))

    async with pool.connect() as connection:
        return await connection.run_sync(compare)


async def checks(pool: AsyncEngine) -> set[str]:
    """Return the names of the CHECK constraints of payments, which alembic does not compare."""
    async with pool.connect() as connection:
        constraints = await connection.run_sync(lambda sync: inspect(sync).get_check_constraints("payments"))
    return {str(check["name"]) for check in constraints}


async def test_models_and_migrations_are_equal(pool: AsyncEngine) -> None:
    assert await differences(pool) == []
    declared = {str(check.name) for check in Table.metadata.tables["payments"].constraints if check.name}
    assert await checks(pool) == declared


async def test_every_migration_can_be_undone_and_repeated(pool: AsyncEngine) -> None:
    revisions = list(ScriptDirectory.from_config(ALEMBIC).walk_revisions())
    for revision in revisions:
        await asyncio.to_thread(command.downgrade, ALEMBIC, str(revision.down_revision or "base"))
    async with pool.connect() as connection:
        tables = await connection.run_sync(lambda sync: inspect(sync).get_table_names())
    assert tables == ["alembic_version"]
    for revision in reversed(revisions):
        await asyncio.to_thread(command.upgrade, ALEMBIC, revision.revision)
    assert await differences(pool) == []


def test_the_newest_revision_is_the_head_of_alembic() -> None:
    assert newest_revision(MIGRATIONS) == ScriptDirectory.from_config(ALEMBIC).get_current_head()


async def test_an_older_schema_is_refused(pool: AsyncEngine) -> None:
    await check_schema(pool, MIGRATIONS)
    await asyncio.to_thread(command.downgrade, ALEMBIC, "-1")
    with pytest.raises(SchemaOutdated, match=r"apps/payments/alembic\.ini upgrade head"):
        await check_schema(pool, MIGRATIONS)


_ROW = {
    "id": "gen_random_uuid()",
    "user_id": "gen_random_uuid()",
    "amount": "1",
    "currency": "'USD'",
    "metadata": "'{}'",
    "status": "'created'",
    "reason": "NULL",
    "created_at": "now()",
}


async def insert(connection: AsyncConnection, **values: str) -> None:
    row = _ROW | values
    names, row_values = ", ".join(row), ", ".join(row.values())
    await connection.exec_driver_sql(f"INSERT INTO payments ({names}) VALUES ({row_values})")  # noqa: S608 - the test's own


@pytest.mark.parametrize(
    "values",
    [
        {"amount": "0"},
        {"amount": "-1"},
        {"amount": str(2**53)},
        {"currency": "'usd'"},
        {"currency": "'DOLLARS'"},
        {"metadata": "'[]'"},
        {"status": "'pending'"},
        {"status": "'rejected'"},
        {"reason": "'amount-over-limit'"},
        {"user_id": "NULL"},
    ],
    ids=str,
)
async def test_the_database_refuses_invalid_rows(pool: AsyncEngine, values: dict[str, str]) -> None:
    async with pool.begin() as connection:
        await insert(connection)
    with pytest.raises(IntegrityError):
        async with pool.begin() as connection:
            await insert(connection, **values)


_USER = "'00000000-0000-4000-8000-000000000007'"
_POSITION = "('2026-01-01T00:00:00Z', '00000000-0000-4000-8000-000000000000')"


async def test_every_page_is_read_from_an_index(pool: AsyncEngine) -> None:
    async with pool.begin() as connection:
        await connection.exec_driver_sql(
            "INSERT INTO payments SELECT gen_random_uuid(),"
            " ('00000000-0000-4000-8000-' || lpad((n % 20)::text, 12, '0'))::uuid, 1, 'USD', '{}',"
            " CASE WHEN n / 20 % 20 = 0 THEN 'rejected' ELSE 'created' END,"
            " CASE WHEN n / 20 % 20 = 0 THEN 'amount-over-limit' END,"
            " timestamptz '2026-02-01' - n * interval '1 minute' FROM generate_series(1, 40000) AS n"
        )
    async with pool.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.exec_driver_sql("VACUUM ANALYZE payments")
    async with pool.connect() as connection:
        of_user, rejected = f"user_id = {_USER}", "status = 'rejected'"
        for filters in ("TRUE", of_user, rejected, f"{of_user} AND {rejected}"):
            for position in ("TRUE", f"(created_at, id) < {_POSITION}"):
                rows = await connection.exec_driver_sql(
                    "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT * FROM payments"  # noqa: S608 - the test's own
                    f" WHERE {filters} AND {position}"
                    " ORDER BY created_at DESC, id DESC LIMIT 21"
                )
                [plan] = _plans(rows.scalar_one())
                nodes = list(_nodes(plan))
                names = {node["Node Type"] for node in nodes}
                assert names <= {"Limit", "Index Scan"}, (filters, position, names)
                assert all(node.get("Rows Removed by Filter", 0) <= 21 for node in nodes)
                assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 60


def _plans(answer: Any) -> list[dict[str, Any]]:
    plans = json.loads(answer) if isinstance(answer, str) else answer
    return [plan["Plan"] for plan in plans]


def _nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for child in plan.get("Plans", []) for node in _nodes(child))]
