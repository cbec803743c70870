"""A mark and its effect commit together: once, however often a message comes and wherever the work was cut off."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nats.aio.msg import Msg
from sqlalchemy import URL, BigInteger, Column, MetaData, Table, func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from kit import inbox as inboxes
from kit.database import Transaction
from kit.errors import OutcomeUnknown, Unavailable
from kit.inbox import InboxCleaner, InboxKey, inbox_table
from kit.messaging.inbox_key import inbox_key
from kit.runtime.logging import configure_logging
from mkstore.stack.servers import PostgresServer
from tests.support.polling import eventually

_metadata = MetaData()
inbox = inbox_table(_metadata)
tills = Table("tills", _metadata, Column("coins", BigInteger, nullable=False))


class Till(Transaction):
    """Coins, each of which was brought by a message."""

    async def take(self, *marks: InboxKey) -> None:
        new = await inboxes.insert_new(self._connection, inbox, marks)
        await self._connection.execute(update(tills).values(coins=tills.c.coins + len(new)))

    async def coins(self) -> int:
        return int((await self._connection.execute(select(tills.c.coins))).scalar_one())

    async def marks(self) -> int:
        return int((await self._connection.execute(select(func.count()).select_from(inbox))).scalar_one())


class DiesBeforeItsCommit(Till):
    """Work that is cut off when everything is written and nothing committed."""

    async def _commit(self) -> None:
        raise Unavailable("process")


class DiesAfterItsCommit(Till):
    """Work that is cut off when it is committed and nobody was told."""

    async def _commit(self) -> None:
        await super()._commit()
        raise OutcomeUnknown("process")


@pytest.fixture(scope="session")
def inbox_address(postgres_server: PostgresServer) -> URL:
    name = f"kit_{secrets.token_hex(4)}"
    postgres_server.create_databases(name)
    return URL.create(
        "postgresql+asyncpg", postgres_server.user, postgres_server.password, "127.0.0.1", postgres_server.port, name
    )


async def made_anew(address: URL) -> AsyncEngine:
    pool = create_async_engine(address)
    async with pool.begin() as connection:
        await connection.run_sync(_metadata.drop_all)
        await connection.run_sync(_metadata.create_all)
        await connection.execute(insert(tills).values(coins=0))
    return pool


@pytest.fixture
async def pool(inbox_address: URL) -> AsyncIterator[AsyncEngine]:
    made = await made_anew(inbox_address)
    yield made
    await made.dispose()


def numbered(*numbers: int) -> list[InboxKey]:
    return [InboxKey("tests-take", str(number)) for number in numbers]


async def test_a_message_that_comes_again_has_no_effect_again(pool: AsyncEngine) -> None:
    for marks in (numbered(1), numbered(1), numbered(2, 1, 2), numbered(), numbered(2)):
        async with Till(pool) as till:
            await till.take(*marks)
    async with Till(pool) as till:
        assert (await till.coins(), await till.marks()) == (2, 2)


async def test_what_one_consumer_handled_another_still_does(pool: AsyncEngine) -> None:
    async with Till(pool) as till:
        await till.take(InboxKey("one", "m"), InboxKey("other", "m"))
        await till.take(InboxKey("other", "m"))
    async with Till(pool) as till:
        assert await till.coins() == 2


async def test_of_two_that_have_a_message_at_once_one_has_its_effect(pool: AsyncEngine) -> None:
    async def take(*marks: InboxKey) -> None:
        async with Till(pool) as till:
            await till.take(*marks)

    messages = numbered(*range(50))
    await asyncio.gather(*(take(*(messages if number % 2 else reversed(messages))) for number in range(10)))
    async with Till(pool) as till:
        assert (await till.coins(), await till.marks()) == (50, 50)


async def test_one_waits_for_the_other_and_takes_over_when_that_dies(pool: AsyncEngine) -> None:
    async with Till(pool) as first:
        await first.take(*numbered(1))

        async def second() -> None:
            async with Till(pool) as till:
                await till.take(*numbered(1))

        waiting = asyncio.create_task(second())
        await eventually(lambda: _somebody_waits(pool))
        await first._connection.rollback()  # as the server does for a client that is gone
    await waiting
    async with Till(pool) as till:
        assert (await till.coins(), await till.marks()) == (1, 1)


async def _somebody_waits(pool: AsyncEngine) -> bool:
    async with pool.connect() as connection:
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        return bool((await connection.execute(text(waiting))).scalar())


Delivery = tuple[list[int], type[Till]]

deliveries: st.SearchStrategy[list[Delivery]] = st.lists(
    st.tuples(
        st.lists(st.integers(1, 6), max_size=4),
        st.sampled_from([Till, Till, DiesBeforeItsCommit, DiesAfterItsCommit]),
    ),
    max_size=12,
)


@given(said=deliveries)
@settings(max_examples=30, deadline=None)
def test_wherever_the_work_is_cut_off_each_message_has_its_effect_once(
    inbox_address: URL, said: list[Delivery]
) -> None:
    async def deliver() -> None:
        pool = await made_anew(inbox_address)
        handled: set[int] = set()
        for numbers, till in said:
            try:
                async with till(pool) as opened:
                    await opened.take(*numbered(*numbers))
            except (Unavailable, OutcomeUnknown):
                pass
            handled |= set(numbers) if till is not DiesBeforeItsCommit else set()
            async with Till(pool) as seen:
                assert (await seen.coins(), await seen.marks()) == (len(handled), len(handled))
        await pool.dispose()

    asyncio.run(deliver())


def message(headers: dict[str, str], reply: str = "") -> Msg:
    return Msg(_client=None, subject="user.created", reply=reply, data=b"{}", headers=headers)  # type: ignore[arg-type]


_ACK = "$JS.ACK.USER_EVENTS.payments-open_payer.{attempt}.7.{attempt}.1767225600000000000.0"


def test_a_message_is_known_by_its_own_id_and_else_by_its_place_and_time() -> None:
    about: list[tuple[dict[str, str], str]] = [
        ({"ce-id": "a", "Nats-Msg-Id": "b"}, "a"),
        ({"Nats-Msg-Id": "b"}, "b"),
        ({}, "USER_EVENTS.7.2026-01-01T00:00:00+00:00"),
    ]
    for headers, expected in about:
        for attempt in (1, 2):
            found = inbox_key(message(headers, _ACK.format(attempt=attempt)))
            assert found == InboxKey("payments-open_payer", expected)
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


async def marks(pool: AsyncEngine) -> int:
    async with Till(pool) as till:
        return await till.marks()


async def test_what_is_too_old_is_swept_in_small_portions_and_the_rest_stays(pool: AsyncEngine) -> None:
    await aged(pool, "8 days 1 minute", 2500)
    await aged(pool, "7 days 23 hours", 10)
    sweeper = InboxCleaner(pool, inbox, timedelta(days=8))
    assert [await sweeper.delete_expired() for _ in range(4)] == [1000, 1000, 500, 0]
    assert await marks(pool) == 10


async def test_replicas_sweep_at_once(pool: AsyncEngine) -> None:
    await aged(pool, "9 days", 3000)
    sweepers = [InboxCleaner(pool, inbox, timedelta(days=8)) for _ in range(3)]
    assert sum(await asyncio.gather(*(sweeper.delete_expired() for sweeper in sweepers))) == 3000


async def test_a_failure_does_not_end_the_sweeping(pool: AsyncEngine, capfd: pytest.CaptureFixture[str]) -> None:
    configure_logging("INFO", "console")  # whatever an operator's command set in this process
    await aged(pool, "9 days", 10)
    async with pool.begin() as connection:
        await connection.execute(text("ALTER TABLE inbox RENAME TO hidden"))
    sweeper = InboxCleaner(pool, inbox, timedelta(days=8), interval=0.01)
    await sweeper.start()
    try:
        await eventually(lambda: "inbox cleanup failed" in "".join(capfd.readouterr()))
        async with pool.begin() as connection:
            await connection.execute(text("ALTER TABLE hidden RENAME TO inbox"))
        await eventually(lambda: _none(pool))
    finally:
        await sweeper.stop()


async def _none(pool: AsyncEngine) -> Any:
    return await marks(pool) == 0
