"""Old code on a schema that a newer version has migrated, on a real PostgreSQL."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import AsyncEngine

from kit.database import engine_at
from kit.ops.schema import SchemaOutdated, SchemaTooNew, check_schema
from kit.schema_compatibility import READ_NOTE, note, works_with
from mkstore.stack.servers import PostgresServer, create_databases
from tests.support.polling import eventually

_ENV = """
from sqlalchemy import MetaData, make_url
from kit.migrations import run

run(make_url({url!r}), MetaData())
"""
_VERSION = """
from alembic import op

revision = {revision!r}
down_revision = {before!r}
{more}

def upgrade():
    op.execute("CREATE TABLE of_{revision} ()")


def downgrade():
    op.execute("DROP TABLE of_{revision}")
"""

_ALTERING = """
from alembic import op

revision = "0003"
down_revision = "0002"
compatible_with = "0001"


def upgrade():
    op.execute("ALTER TABLE of_0001 ADD COLUMN more int")


def downgrade():
    op.execute("ALTER TABLE of_0001 DROP COLUMN more")
"""


class Version:
    """The migrations of one version of a service."""

    def __init__(self, folder: Path, url: str) -> None:
        self.migrations = folder / "migrations"
        (self.migrations / "versions").mkdir(parents=True)
        (self.migrations / "env.py").write_text(_ENV.format(url=url))
        self.config = Config()
        self.config.set_main_option("script_location", str(self.migrations))
        self._last: str | None = None

    def add(self, revision: str, compatible_with: str | None = None) -> None:
        """Add a migration, which says that older code works after it if it has `compatible_with`."""
        more = f"compatible_with = {compatible_with!r}" if compatible_with else ""
        code = _VERSION.format(revision=revision, before=self._last, more=more)
        (self.migrations / "versions" / f"{revision}.py").write_text(code)
        self._last = revision

    async def upgrade(self) -> None:
        await asyncio.to_thread(command.upgrade, self.config, "head")

    async def downgrade(self, revision: str) -> None:
        await asyncio.to_thread(command.downgrade, self.config, revision)


class Versions:
    """Versions of a service on one database."""

    def __init__(self, folder: Path, engine: AsyncEngine, url: str) -> None:
        self._folder = folder
        self.engine = engine
        self._url = url

    def make(self, *revisions: tuple[str, str | None]) -> Version:
        version = Version(self._folder / secrets.token_hex(4), self._url)
        for revision in revisions:
            version.add(*revision)
        return version

    async def check(self, version: Version) -> None:
        await check_schema(self.engine, version.migrations)

    async def note(self) -> str | None:
        async with self.engine.connect() as connection:
            found: str | None = (await connection.execute(text(READ_NOTE))).scalar()
            return found


@asynccontextmanager
async def _database(server: PostgresServer) -> AsyncIterator[tuple[AsyncEngine, str]]:
    name = f"versions_{secrets.token_hex(4)}"
    await create_databases(server.url, [name])
    url = server.url_of(name).replace("postgresql:", "postgresql+asyncpg:")
    engine = engine_at(make_url(url))
    yield engine, url
    await engine.dispose()


@pytest.fixture
async def versions(postgres_server: PostgresServer, tmp_path: Path) -> AsyncIterator[Versions]:
    async with _database(postgres_server) as (engine, url):
        yield Versions(tmp_path, engine, url)


_OLD = ("0001", None)


async def test_old_code_starts_after_a_migration_that_expands(versions: Versions) -> None:
    old, new = versions.make(_OLD), versions.make(_OLD, ("0002", "0001"))
    await old.upgrade()
    await new.upgrade()
    await versions.check(new)
    await versions.check(old)


async def test_old_code_does_not_start_after_a_migration_that_contracts(versions: Versions) -> None:
    old, new = versions.make(_OLD), versions.make(_OLD, ("0002", "0001"), ("0003", "0002"))
    await new.upgrade()
    with pytest.raises(SchemaTooNew, match="at revision 0003, which does not work with this code, of 0001: use"):
        await versions.check(old)
    await versions.check(versions.make(_OLD, ("0002", "0001")))


async def test_later_expansion_keeps_what_an_earlier_contraction_requires(versions: Versions) -> None:
    await versions.make(_OLD, ("0002", None), ("0003", "0001")).upgrade()
    assert await versions.note() == note("0002")


async def test_migration_without_the_constant_works_with_its_own_code_only(versions: Versions) -> None:
    old, new = versions.make(_OLD), versions.make(_OLD, ("0002", None))
    await new.upgrade()
    with pytest.raises(SchemaTooNew):
        await versions.check(old)


async def test_new_code_does_not_start_before_its_migration(versions: Versions) -> None:
    old, new = versions.make(_OLD), versions.make(_OLD, ("0002", "0001"))
    await old.upgrade()
    with pytest.raises(SchemaOutdated, match="at revision 0001 and this code needs 0002"):
        await versions.check(new)


async def test_migrations_of_an_older_version_change_nothing(
    versions: Versions, capfd: pytest.CaptureFixture[str]
) -> None:
    """As a rollback does: it starts the older version with its migrations, on the newer schema."""
    old, new = versions.make(_OLD), versions.make(_OLD, ("0002", "0001"))
    await new.upgrade()
    await old.upgrade()
    assert "The database has a newer schema, which works with this version" in capfd.readouterr().err
    assert await versions.note() == note("0001")
    await versions.check(new)


async def test_note_follows_a_downgrade(versions: Versions) -> None:
    new = versions.make(_OLD, ("0002", None))
    await new.upgrade()
    await new.downgrade("0001")
    assert await versions.note() == note("0001")
    await versions.check(versions.make(_OLD))


async def test_migration_that_waits_for_a_lock_delays_no_other_statement(
    versions: Versions, capfd: pytest.CaptureFixture[str]
) -> None:
    """Such as during a backup, which reads every table in one transaction."""
    old, new = versions.make(_OLD), versions.make(_OLD, ("0002", "0001"))
    await old.upgrade()
    (new.migrations / "versions" / "0003.py").write_text(_ALTERING)
    async with versions.engine.connect() as reader:
        await reader.execute(text("SELECT FROM of_0001"))
        upgrading = asyncio.create_task(new.upgrade())
        await eventually(lambda: "the migration is tried again" in capfd.readouterr().err)
        async with versions.engine.connect() as another:
            await another.execute(text("SET statement_timeout = '30s'"))
            await another.execute(text("SELECT FROM of_0001"))
    await upgrading
    await versions.check(new)


@pytest.mark.parametrize(
    ("current", "stored", "works"),
    [
        (["0005"], None, True),
        (["0005"], note("0009"), True),
        (["0006"], note("0005"), True),
        (["0006"], note("0004"), True),
        (["0006"], note("0006"), False),
        (["0006"], None, False),
        (["0006"], "a comment of the operator", False),
        (["0004"], note("0003"), False),
        (["0005", "0006"], note("0001"), False),
        ([], None, False),
    ],
)
def test_note_decides_about_a_newer_schema_only(current: list[str], stored: str | None, works: bool) -> None:
    assert works_with(current, stored, "0005") is works
