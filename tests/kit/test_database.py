"""What the database says, in the words of those who know none."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import URL, BigInteger, CheckConstraint, Column, MetaData, Table, Text, insert, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from kit.database import RefusedByDatabase, Transaction
from kit.errors import Unavailable
from mkstore.stack.servers import PostgresServer

things = Table(
    "things",
    MetaData(),
    Column("size", BigInteger, CheckConstraint("size > 0", name="it_has_a_size"), primary_key=True),
    Column("email", Text),
)


class Things(Transaction):
    """Things, added in one transaction."""

    async def add(self, **row: Any) -> None:
        await self._connection.execute(insert(things).values(row))

    async def say(self, sql: str) -> None:
        await self._connection.execute(text(sql))


@pytest.fixture
async def pool(postgres_server: PostgresServer) -> AsyncIterator[AsyncEngine]:
    name = f"kit_{secrets.token_hex(4)}"
    await asyncio.to_thread(postgres_server.create_databases, name)
    address = URL.create(
        "postgresql+asyncpg", postgres_server.user, postgres_server.password, "127.0.0.1", postgres_server.port, name
    )
    made = create_async_engine(address, hide_parameters=True)
    async with made.begin() as connection:
        await connection.run_sync(things.metadata.create_all)
    yield made
    await made.dispose()


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
async def test_what_it_will_never_take_is_told_without_what_it_was(
    pool: AsyncEngine, row: dict[str, Any], words: str
) -> None:
    async with Things(pool) as there:
        await there.add(size=1)
    with pytest.raises(RefusedByDatabase) as refused:
        async with Things(pool) as there:
            await there.add(**{"email": "ada@example.com"} | row)
    assert str(refused.value) == f"The database refuses this write: {words}."


async def test_a_constraint_that_is_looked_at_in_the_end_is_told_as_well(pool: AsyncEngine) -> None:
    async with Things(pool) as there:
        await there.say("ALTER TABLE things ADD CONSTRAINT one_each UNIQUE (email) DEFERRABLE INITIALLY DEFERRED")
        await there.add(size=1, email="ada@example.com")
    with pytest.raises(RefusedByDatabase, match=r"constraint one_each\.$"):
        async with Things(pool) as there:
            await there.add(size=2, email="ada@example.com")


async def test_a_mistake_of_ours_is_not_taken_for_the_datas(pool: AsyncEngine) -> None:
    with pytest.raises(DBAPIError):
        async with Things(pool) as there:
            await there.say("SELECT nothing FROM nowhere")


async def test_a_database_that_lets_nobody_in_is_away(pool: AsyncEngine) -> None:
    async with pool.connect() as connection:
        (name,) = (await connection.execute(text("SELECT current_database()"))).one()
    outside = create_async_engine(pool.url.set(database="postgres"), isolation_level="AUTOCOMMIT")
    async with outside.connect() as operator:
        await operator.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false"))
        end = text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name")
        await operator.execute(end, {"name": name})
        for _ in range(2):  # the connection of the pool, which was ended, and a new one
            with pytest.raises(Unavailable):
                async with Things(pool) as refused:
                    await refused.say("SELECT 1")
        await operator.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true"))
    async with Things(pool) as again:
        await again.say("SELECT 1")
    await outside.dispose()
