"""The inbox: a key and its effect commit together, so each message has its effect once."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Literal, Self, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nats.aio.msg import Msg
from sqlalchemy import URL, BigInteger, Column, MetaData, Table, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from kit.connection_pool import ConnectionPool
from kit.database import Transaction, pool_of
from kit.errors import Unavailable
from kit.inbox import InboxKey, delete_expired, inbox_cleaner, inbox_table, insert_new
from kit.messaging.delivery.inbox_key import inbox_key
from kit.runtime.logging import configure_logging
from mkstore.stack.servers import PostgresServer
from tests.support.database_locks import lock_is_awaited
from tests.support.polling import eventually

_metadata = MetaData()
inbox = inbox_table(_metadata)
tills = Table("tills", _metadata, Column("coins", BigInteger, nullable=False))


class Till(Transaction):
    """A till that gets one coin per new message."""

    async def take(self, *keys: InboxKey) -> None:
        new = await insert_new(self._connection, keys)
        await self._connection.execute("UPDATE tills SET coins = coins + $1", len(new))

    async def coins(self) -> int:
        return int(await self._connection.fetchval("SELECT coins FROM tills"))

    async def keys(self) -> int:
        return int(await self._connection.fetchval("SELECT count(*) FROM inbox"))


@pytest.fixture(scope="module")
def inbox_address(postgres_server: PostgresServer) -> URL:
    """Create a database with the tables; return its URL."""
    name = f"kit_{secrets.token_hex(4)}"
    postgres_server.create_databases(name)
    address = URL.create(
        "postgresql+asyncpg", postgres_server.user, postgres_server.password, "127.0.0.1", postgres_server.port, name
    )
    asyncio.run(_create_tables(address))
    return address


async def _create_tables(address: URL) -> None:
    pool = create_async_engine(address)
    async with pool.begin() as connection:
        await connection.run_sync(_metadata.create_all)
    await pool.dispose()


class Emptied(Transaction):
    """Deletes all keys, and leaves one till without coins."""

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        await self._connection.execute("DELETE FROM inbox; DELETE FROM tills; INSERT INTO tills VALUES (0)")
        return self


@asynccontextmanager
async def emptied(address: URL) -> AsyncIterator[ConnectionPool]:
    pool = pool_of(address, 15)
    async with Emptied(pool):
        pass
    yield pool
    await pool.close()


@pytest.fixture
async def pool(inbox_address: URL) -> AsyncIterator[ConnectionPool]:
    async with emptied(inbox_address) as pool:
        yield pool


@pytest.fixture
async def engine(inbox_address: URL, pool: ConnectionPool) -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(inbox_address)
    yield engine
    await engine.dispose()


def numbered(*numbers: int) -> list[InboxKey]:
    return [InboxKey("tests-take", str(number)) for number in numbers]


async def test_redelivered_message_has_no_second_effect(pool: ConnectionPool) -> None:
    for keys in (numbered(1), numbered(1), numbered(2, 1, 2), numbered(), numbered(2)):
        async with Till(pool) as till:
            await till.take(*keys)
    async with Till(pool) as till:
        assert (await till.coins(), await till.keys()) == (2, 2)


async def test_consumers_have_separate_keys(pool: ConnectionPool) -> None:
    async with Till(pool) as till:
        await till.take(InboxKey("one", "m"), InboxKey("other", "m"))
        await till.take(InboxKey("other", "m"))
    async with Till(pool) as till:
        assert await till.coins() == 2


async def test_concurrent_deliveries_have_one_effect(pool: ConnectionPool) -> None:
    async def take(*keys: InboxKey) -> None:
        async with Till(pool) as till:
            await till.take(*keys)

    messages = numbered(*range(50))
    await asyncio.gather(*(take(*(messages if number % 2 else reversed(messages))) for number in range(10)))
    async with Till(pool) as till:
        assert (await till.coins(), await till.keys()) == (50, 50)


async def test_waiting_transaction_takes_over_when_the_first_rolls_back(pool: ConnectionPool) -> None:
    async def second() -> None:
        async with Till(pool) as till:
            await till.take(*numbered(1))

    with suppress(LookupError):
        async with Till(pool) as first:
            await first.take(*numbered(1))
            waiting = asyncio.create_task(second())
            await eventually(lambda: lock_is_awaited(pool))
            raise LookupError
    await waiting
    async with Till(pool) as till:
        assert (await till.coins(), await till.keys()) == (1, 1)


Outcome = Literal["committed", "failed before commit", "reply of the commit lost"]

deliveries: st.SearchStrategy[list[tuple[list[int], Outcome]]] = st.lists(
    st.tuples(
        st.lists(st.integers(1, 6), max_size=4),
        st.sampled_from(get_args(Outcome)),
    ),
    max_size=12,
)


@given(sequence=deliveries)
@settings(max_examples=30, deadline=None)
def test_each_message_has_one_effect_despite_failures(
    inbox_address: URL, sequence: list[tuple[list[int], Outcome]]
) -> None:
    async def deliver(pool: ConnectionPool) -> None:
        handled: set[int] = set()
        for numbers, outcome in sequence:
            with suppress(Unavailable):
                async with Till(pool) as till:
                    await till.take(*numbered(*numbers))
                    if outcome == "failed before commit":
                        raise Unavailable("process")
                if outcome == "reply of the commit lost":
                    raise Unavailable("process")
            handled |= set(numbers) if outcome != "failed before commit" else set()
            async with Till(pool) as seen:
                assert (await seen.coins(), await seen.keys()) == (len(handled), len(handled))

    async def run() -> None:
        async with emptied(inbox_address) as pool:
            await deliver(pool)

    asyncio.run(run())


def message(headers: dict[str, str], reply: str = "") -> Msg:
    return Msg(_client=None, subject="user.created", reply=reply, data=b"{}", headers=headers)  # type: ignore[arg-type]


_ACK = "$JS.ACK.USER_EVENTS.payments-open_payer.{attempt}.7.{attempt}.1767225600000000000.0"


def test_inbox_key_is_the_message_id_or_the_stream_position() -> None:
    cases: list[tuple[dict[str, str], str]] = [
        ({"ce-id": "a", "Nats-Msg-Id": "b"}, "a"),
        ({"Nats-Msg-Id": "b"}, "b"),
        ({}, "USER_EVENTS.7.2026-01-01T00:00:00+00:00"),
    ]
    for headers, expected in cases:
        for attempt in (1, 2):
            key = inbox_key(message(headers, _ACK.format(attempt=attempt)))
            assert key == InboxKey("payments-open_payer", expected)
    assert inbox_key(message({"ce-id": "a"})) == InboxKey("", "a")


async def aged(pool: AsyncEngine, age: str, count: int) -> None:
    async with pool.begin() as connection:
        await connection.execute(
            text(
                "INSERT INTO inbox SELECT 'tests-take', gen_random_uuid()::text, now() - CAST(:age AS text)::interval"
                " FROM generate_series(1, :count)"
            ),
            {"age": age, "count": count},
        )


async def count_keys(pool: ConnectionPool) -> int:
    async with Till(pool) as till:
        return await till.keys()


async def test_expired_keys_are_deleted_in_batches(pool: ConnectionPool, engine: AsyncEngine) -> None:
    await aged(engine, "8 days 1 minute", 2500)
    await aged(engine, "7 days 23 hours", 10)
    assert [await delete_expired(engine, inbox, timedelta(days=8)) for _ in range(4)] == [1000, 1000, 500, 0]
    assert await count_keys(pool) == 10


async def test_replicas_delete_expired_keys_concurrently(engine: AsyncEngine) -> None:
    await aged(engine, "9 days", 3000)
    deletions = (delete_expired(engine, inbox, timedelta(days=8)) for _ in range(3))
    assert sum(await asyncio.gather(*deletions)) == 3000


async def test_cleanup_continues_after_a_failure(
    pool: ConnectionPool, engine: AsyncEngine, capfd: pytest.CaptureFixture[str]
) -> None:
    configure_logging("INFO", "console")  # a command run earlier in this process may have changed it
    await aged(engine, "9 days", 10)
    async with engine.begin() as connection:
        await connection.execute(text("ALTER TABLE inbox RENAME TO hidden"))
    cleaner = inbox_cleaner(engine, inbox, timedelta(days=8), interval=0.01)
    await cleaner.start()
    try:
        await eventually(lambda: "inbox cleanup failed" in "".join(capfd.readouterr()))
        async with engine.begin() as connection:
            await connection.execute(text("ALTER TABLE hidden RENAME TO inbox"))
        await eventually(lambda: _is_empty(pool))
    finally:
        await cleaner.stop()


async def _is_empty(pool: ConnectionPool) -> bool:
    return await count_keys(pool) == 0
