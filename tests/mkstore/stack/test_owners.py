"""The role of each database: it may do everything there, and nothing elsewhere."""

import secrets
from collections.abc import AsyncIterator

import asyncpg
import pytest

from mkstore.stack.servers import PostgresServer, create_databases, give_database

PASSWORD = "a password of 'quotes' and \\"


@pytest.fixture
async def database(postgres: PostgresServer) -> AsyncIterator[str]:
    """Return the name of a database with objects of the superuser, as earlier versions made it."""
    name = f"d{secrets.token_hex(4)}"
    await create_databases(postgres.url, [name])
    connection = await asyncpg.connect(postgres.url_of(name))
    await connection.execute(
        """
        CREATE TYPE color AS ENUM ('red');
        CREATE TABLE counted (id serial, number int GENERATED ALWAYS AS IDENTITY, it color);
        CREATE TABLE "order" (id int PRIMARY KEY);
        CREATE SEQUENCE alone;
        CREATE VIEW seen AS SELECT * FROM counted;
        CREATE FUNCTION seven(int) RETURNS int LANGUAGE sql AS 'SELECT 7';
        INSERT INTO counted (it) VALUES ('red');
        """
    )
    await connection.close()
    yield name
    await _on(postgres.url, f'DROP DATABASE "{name}" WITH (FORCE)')
    await _on(postgres.url, f'DROP ROLE IF EXISTS "{name}"')


async def _on(url: str, statement: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def as_owner(postgres: PostgresServer, name: str, database: str | None = None) -> asyncpg.Connection:
    return await asyncpg.connect(
        host="127.0.0.1", port=postgres.port, user=name, password=PASSWORD, database=database or name
    )


async def test_database_of_an_earlier_version_gets_its_owner_and_keeps_its_data(
    postgres: PostgresServer, database: str
) -> None:
    url = postgres.url_of(database)
    assert [await give_database(url, database, PASSWORD) for _ in range(2)] == [True, False]
    owner = await as_owner(postgres, database)
    try:
        assert await owner.fetchval("SELECT it FROM seen") == "red"
        await owner.execute(
            """
            ALTER TABLE counted ADD more int;
            ALTER TYPE color ADD VALUE 'blue';
            ALTER SEQUENCE alone RESTART;
            DROP TABLE "order";
            DROP VIEW seen;
            DROP FUNCTION seven(int);
            CREATE TABLE other ();
            """
        )
    finally:
        await owner.close()


async def test_what_the_superuser_has_added_since_belongs_to_the_role(postgres: PostgresServer, database: str) -> None:
    url = postgres.url_of(database)
    await give_database(url, database, PASSWORD)
    await _on(url, "CREATE TABLE restored (it int)")
    assert await give_database(url, database, PASSWORD) is False
    owner = await as_owner(postgres, database)
    await owner.execute("ALTER TABLE restored ADD more int")
    await owner.close()


async def test_new_password_counts_from_the_next_start(postgres: PostgresServer, database: str) -> None:
    url = postgres.url_of(database)
    await give_database(url, database, "the password of a lost secrets.json")
    await give_database(url, database, PASSWORD)
    await (await as_owner(postgres, database)).close()


async def test_role_has_no_other_rights(postgres: PostgresServer, database: str) -> None:
    other = f"{database}_other"
    await create_databases(postgres.url, [other])
    try:
        await give_database(postgres.url_of(database), database, PASSWORD)
        await give_database(postgres.url_of(other), other, PASSWORD)
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied for database"):
            await as_owner(postgres, database, other)
        owner = await as_owner(postgres, database)
        for statement in ("CREATE DATABASE mine", "CREATE ROLE mine", f'SET ROLE "{other}"', "SET ROLE mkstore"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await owner.execute(statement)
        assert await owner.fetchval("SELECT current_setting('is_superuser')") == "off"
        await owner.close()
    finally:
        await _on(postgres.url, f'DROP DATABASE "{other}" WITH (FORCE)')
        await _on(postgres.url, f'DROP ROLE "{other}"')
