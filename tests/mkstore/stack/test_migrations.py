"""Bringing databases to the newest schema, and knowing when there is nothing to do."""

import dataclasses
from pathlib import Path

import asyncpg
import pytest

from mkstore.services import SERVICES, ServiceSpec
from mkstore.stack.managed_process import ProcessFailed
from mkstore.stack.migrations import is_newest, migrate
from mkstore.stack.servers import PostgresServer, create_databases
from mkstore.stack.service_process import DatabaseLogin, service_environment


@pytest.fixture
def spec(tmp_path: Path) -> ServiceSpec:
    (tmp_path / "migrations" / "versions").mkdir(parents=True)
    spec = ServiceSpec("users", "", "users_db", migrations=tmp_path / "alembic.ini")
    revise(spec, "0001", None)
    revise(spec, "0002", "0001")
    return spec


def revise(spec: ServiceSpec, revision: str, before: str | tuple[str, ...] | None) -> None:
    assert spec.migrations
    file = spec.migrations.parent / "migrations" / "versions" / f"{revision}.py"
    file.write_text(f'"""A step."""\n\nrevision: str = {revision!r}\ndown_revision = {before!r}\n')


async def at(postgres: PostgresServer, *revisions: str) -> str:
    """Return a database that alembic would say is at these revisions."""
    name = f"at_{'_'.join(revisions) or 'nothing'}"
    await create_databases(postgres.url, [name])
    connection = await asyncpg.connect(postgres.url_of(name))
    await connection.execute("CREATE TABLE IF NOT EXISTS alembic_version (version_num text PRIMARY KEY)")
    await connection.executemany(
        "INSERT INTO alembic_version VALUES ($1) ON CONFLICT DO NOTHING", [(r,) for r in revisions]
    )
    await connection.close()
    return postgres.url_of(name)


async def test_database_at_the_newest_revision_needs_no_migration(postgres: PostgresServer, spec: ServiceSpec) -> None:
    assert await is_newest(await at(postgres, "0002"), spec)


async def test_database_at_another_revision_or_none_is_outdated(postgres: PostgresServer, spec: ServiceSpec) -> None:
    assert not await is_newest(await at(postgres, "0001"), spec)
    assert not await is_newest(await at(postgres), spec)
    assert not await is_newest(postgres.url, spec)


async def test_merged_branches_have_one_newest_revision(postgres: PostgresServer, spec: ServiceSpec) -> None:
    revise(spec, "0003", "0001")
    assert not await is_newest(await at(postgres, "0003"), spec)
    revise(spec, "0004", ("0002", "0003"))
    assert await is_newest(await at(postgres, "0004"), spec)


async def test_migrations_that_do_not_exist_are_left_to_alembic(postgres: PostgresServer, spec: ServiceSpec) -> None:
    missing = dataclasses.replace(spec, migrations=Path("/nowhere/alembic.ini"))
    assert not await is_newest(await at(postgres, "0002"), missing)


async def test_services_are_migrated_and_one_that_fails_is_named(
    postgres: PostgresServer, spec: ServiceSpec, tmp_path: Path
) -> None:
    owners = [spec for spec in SERVICES if spec.database is not None]
    await create_databases(postgres.url, [str(spec.database) for spec in owners])
    login = DatabaseLogin("127.0.0.1", str(postgres.port), postgres.user, postgres.password)
    work = [
        (
            spec,
            service_environment(
                spec, {}, nats_url="nats://127.0.0.1:1", monitor_url="", database=login, jwt_secret="s" * 32
            ),
            tmp_path / f"{spec.name}.log",
        )
        for spec in owners
    ]
    broken = dataclasses.replace(spec, name="shop", database="shop_db")  # there is no alembic.ini
    with pytest.raises(ProcessFailed, match="shop_db could not be migrated") as failure:
        await migrate([*work, (broken, work[0][1], tmp_path / "shop.log")], timeout=90)
    assert "No 'script_location' key" in failure.value.log
    assert {await is_newest(login.url_of(str(spec.database)), spec) for spec in owners} == {True}


async def test_migrations_are_killed_after_the_timeout(spec: ServiceSpec, tmp_path: Path) -> None:
    with pytest.raises(ProcessFailed, match=r"migrations were not done after 0 s"):
        await migrate([(spec, {}, tmp_path / "log")], timeout=0)
