"""The migrations give the schema of the models, and each can be undone."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect
from sqlalchemy.ext.asyncio import AsyncEngine

from apps.users.main import MIGRATIONS
from apps.users.models import Table
from kit import database
from kit.ops.revisions import newest_revision
from kit.ops.schema import SchemaOutdated, check_schema
from tests.conftest import NewDatabase
from tests.users.conftest import settings_for

ALEMBIC = Config(MIGRATIONS.with_name("alembic.ini"))


@pytest.fixture
async def pool(new_database: NewDatabase, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AsyncEngine]:
    """Return connections to a migrated database; the environment variables name it, too."""
    environment = new_database("users")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    engine = database.create_engine(settings_for(environment, "nats://127.0.0.1:1"))
    yield engine
    await engine.dispose()


async def differences(pool: AsyncEngine) -> list[object]:
    """Return the differences between the database and the models."""

    def compare(connection: Connection) -> list[object]:
        options = {"compare_type": True, "compare_server_default": True}
        context = MigrationContext.configure(connection, opts=options)
        return list(compare_metadata(context, Table.metadata))

    async with pool.connect() as connection:
        return await connection.run_sync(compare)


async def tables(pool: AsyncEngine) -> set[str]:
    async with pool.connect() as connection:
        return set(await connection.run_sync(lambda sync: inspect(sync).get_table_names()))


async def test_models_and_migrations_are_equal(pool: AsyncEngine) -> None:
    assert await differences(pool) == []


async def test_every_migration_can_be_undone_and_repeated(pool: AsyncEngine) -> None:
    revisions = list(ScriptDirectory.from_config(ALEMBIC).walk_revisions())
    for revision in revisions:
        await asyncio.to_thread(command.downgrade, ALEMBIC, str(revision.down_revision or "base"))
    assert await tables(pool) == {"alembic_version"}
    for revision in reversed(revisions):
        await asyncio.to_thread(command.upgrade, ALEMBIC, revision.revision)
    assert await differences(pool) == []


def test_the_newest_revision_is_the_head_of_alembic() -> None:
    assert newest_revision(MIGRATIONS) == ScriptDirectory.from_config(ALEMBIC).get_current_head()


async def test_an_older_schema_is_refused(pool: AsyncEngine) -> None:
    await check_schema(pool, MIGRATIONS)
    await asyncio.to_thread(command.downgrade, ALEMBIC, "-1")
    with pytest.raises(SchemaOutdated, match=r"apps/users/alembic\.ini upgrade head"):
        await check_schema(pool, MIGRATIONS)


async def test_the_newest_users_are_found_with_an_index(pool: AsyncEngine) -> None:
    async with pool.connect() as connection:
        await connection.exec_driver_sql("SET enable_seqscan = off")
        rows = await connection.exec_driver_sql(
            "EXPLAIN SELECT id FROM users WHERE deleted_at IS NULL AND (created_at, id) < (now(), gen_random_uuid())"
            " ORDER BY created_at DESC, id DESC LIMIT 21"
        )
        plan = "\n".join(row[0] for row in rows)
    assert "Index" in plan
    assert "users_newest" in plan
    assert "Sort" not in plan


async def test_keys_of_the_first_schema_keep_their_role(pool: AsyncEngine) -> None:
    await asyncio.to_thread(command.downgrade, ALEMBIC, "0002")
    async with pool.begin() as connection:
        await connection.exec_driver_sql(
            "INSERT INTO signing_keys (kid, sealed, public, created_at, retired_at)"
            " VALUES ('old', '', '{}', now(), now()), ('new', '', '{}', now(), NULL)"
        )
    await asyncio.to_thread(command.upgrade, ALEMBIC, "head")
    async with pool.connect() as connection:
        rows = await connection.exec_driver_sql(
            "SELECT kid, state, published_at IS NULL, signs_from = created_at FROM signing_keys ORDER BY kid"
        )
        assert [tuple(row) for row in rows] == [("new", "active", True, True), ("old", "retired", True, True)]
