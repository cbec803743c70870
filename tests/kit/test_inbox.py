"""The inbox: a key and its effect commit together, so each message has its effect once."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from typing import Literal, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nats.aio.msg import Msg
from sqlalchemy import URL, BigInteger, Column, MetaData, Table, delete, func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from kit.database import Transaction
from kit.errors import Unavailable
from kit.inbox import InboxCleaner, InboxKey, inbox_table, insert_new
from kit.messaging.inbox_key import inbox_key
from kit.runtime.logging import configure_logging
from mkstore.stack.servers import PostgresServer
from tests.support.polling import eventually

_metadata = MetaData()
inbox = inbox_table(_metadata)
tills = Table("tills", _metadata, Column("coins", BigInteger, nullable=False))


class Till(Transaction):
    """A till that gets one coin per new message."""

    async def take(self, *keys: InboxKey) -> None:
        new = await insert_new(self._connection, inbox, keys)
        await self._connection.execute(update(tills).values(coins=tills.c.coins + len(new)))

    async def roll_back(self) -> None:
        """Roll back, as the server does for a lost connection."""
        await self._connection.rollback()

    async def coins(self) -> int:
        return int((await self._connection.execute(select(tills.c.coins))).scalar_one())

    async def keys(self) -> int:
        return int((await self._connection.execute(select(func.count()).select_from(inbox))).scalar_one())


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


async def emptied(address: URL) -> AsyncEngine:
    """Delete all keys, and leave one till without coins."""
    pool = create_async_engine(address)
    async with pool.begin() as connection:
        await connection.execute(delete(inbox))
        await connection.execute(delete(tills))
        await connection.execute(insert(tills).values(coins=0))
    return pool


@pytest.fixture
async def pool(inbox_address: URL) -> AsyncIterator[AsyncEngine]:
    pool = await emptied(inbox_address)
    yield pool
    await pool.dispose()


def numbered(*numbers: int) -> list[InboxKey]:
    return [InboxKey("tests-take", str(number)) for number in numbers]


async def test_redelivered_message_has_no_second_effect(pool: AsyncEngine) -> None:
    for keys in (numbered(1), numbered(1), numbered(2, 1, 2), numbered(), numbered(2)):
        async with Till(pool) as till:
            await till.take(*keys)
    async with Till(pool) as till:
        assert (await till.coins(), await till.keys()) == (2, 2)


async def test_consumers_have_separate_keys(pool: AsyncEngine) -> None:
    async with Till(pool) as till:
        await till.take(InboxKey("one", "m"), InboxKey("other", "m"))
        await till.take(InboxKey("other", "m"))
    async with Till(pool) as till:
        assert await till.coins() == 2


async def test_concurrent_deliveries_have_one_effect(pool: AsyncEngine) -> None:
    async def take(*keys: InboxKey) -> None:
        async with Till(pool) as till:
            await till.take(*keys)

    messages = numbered(*range(50))
    await asyncio.gather(*(take(*(messages if number % 2 else reversed(messages))) for number in range(10)))
    async with Till(pool) as till:
        assert (await till.coins(), await till.keys()) == (50, 50)


async def test_waiting_transaction_takes_over_when_the_first_rolls_back(pool: AsyncEngine) -> None:
    async with Till(pool) as first:
        await first.take(*numbered(1))

        async def second() -> None:
            async with Till(pool) as till:
                await till.take(*numbered(1))

        waiting = asyncio.create_task(second())
        await eventually(lambda: _lock_is_awaited(pool))
        await first.roll_back()
    await waiting
    async with Till(pool) as till:
        assert (await till.coins(), await till.keys()) == (1, 1)


async def _lock_is_awaited(pool: AsyncEngine) -> bool:
    async with pool.connect() as connection:
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        return bool((await connection.execute(text(waiting))).scalar())


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
    async def deliver() -> None:
        pool = await emptied(inbox_address)
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
        await pool.dispose()

    asyncio.run(deliver())


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


async def count_keys(pool: AsyncEngine) -> int:
    async with Till(pool) as till:
        return await till.keys()


async def test_expired_keys_are_deleted_in_batches(pool: AsyncEngine) -> None:
    await aged(pool, "8 days 1 minute", 2500)
    await aged(pool, "7 days 23 hours", 10)
    cleaner = InboxCleaner(pool, inbox, timedelta(days=8))
    assert [await cleaner.delete_expired() for _ in range(4)] == [1000, 1000, 500, 0]
    assert await count_keys(pool) == 10


async def test_replicas_delete_expired_keys_concurrently(pool: AsyncEngine) -> None:
    await aged(pool, "9 days", 3000)
    cleaners = [InboxCleaner(pool, inbox, timedelta(days=8)) for _ in range(3)]
    assert sum(await asyncio.gather(*(cleaner.delete_expired() for cleaner in cleaners))) == 3000


async def test_cleanup_continues_after_a_failure(pool: AsyncEngine, capfd: pytest.CaptureFixture[str]) -> None:
    configure_logging("INFO", "console")  # a command run earlier in this process may have changed it
    await aged(pool, "9 days", 10)
    async with pool.begin() as connection:
        await connection.execute(text("ALTER TABLE inbox RENAME TO hidden"))
    cleaner = InboxCleaner(pool, inbox, timedelta(days=8), interval=0.01)
    await cleaner.start()
    try:
        await eventually(lambda: "inbox cleanup failed" in "".join(capfd.readouterr()))
        async with pool.begin() as connection:
            await connection.execute(text("ALTER TABLE hidden RENAME TO inbox"))
        await eventually(lambda: _is_empty(pool))
    finally:
        await cleaner.stop()


async def _is_empty(pool: AsyncEngine) -> bool:
    return await count_keys(pool) == 0
