"""Payments are recorded by one statement: conflicts, duplicates, values and locks."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from asyncpg import CheckViolationError

from apps.payments.models import Payment
from apps.payments.repository import Payments
from apps.payments.settings import Settings
from contracts.payments import PaymentStatus
from kit import database
from kit.batching import bisect_failures
from kit.connection_pool import ConnectionPool
from kit.database import RefusedByDatabase
from kit.runtime.tracing import Trace
from mkstore.testing.fakes.payments import REFUSED_AMOUNT
from tests.payments.conftest import settings_for
from tests.support.database_locks import lock_is_awaited
from tests.support.payment_commands import new_command
from tests.support.polling import eventually


@pytest.fixture
async def pool(payments_database: dict[str, str]) -> AsyncIterator[ConnectionPool]:
    settings: Settings = settings_for(payments_database, "nats://127.0.0.1:1", db_pool_size=10)
    pool = database.create_pool(settings)
    yield pool
    await pool.close()


def new_payment(**fields: object) -> Payment:
    return Payment.decide(new_command(**fields), limit=1_000_000)


async def record(pool: ConnectionPool, *payments: Payment) -> set[UUID]:
    """Record and emit in one transaction, as the handler does; return the ids of the new payments."""
    async with Payments(pool) as transaction:
        added = await transaction.add(payments)
        await transaction.emit([(each.event(), Trace()) for each in payments if each.id in added])
    return added


async def test_recorded_payment_is_read_as_it_was_written(pool: ConnectionPool) -> None:
    payments = [
        new_payment(metadata={"order": "A-1", "smile": "\U0001f600", "quote": "\"'\\{}", "empty": ""}),
        new_payment(amount=2**53 - 1, currency="JPY", metadata={}),
        new_payment(created_at=datetime(2026, 1, 31, 23, 59, 59, 999999, tzinfo=UTC)),
    ]
    assert payments[1].status is PaymentStatus.REJECTED
    assert await record(pool, *payments) == {payment.id for payment in payments}
    ids = [payment.id for payment in payments]
    for autocommit in (False, True):
        async with Payments(pool, autocommit=autocommit) as stored:
            views = await stored.get_many([*ids, uuid4()])
        assert sorted(views, key=lambda view: ids.index(view.id)) == [payment.view() for payment in payments]
    async with Payments(pool) as stored:
        assert await stored.get_many([]) == []


async def test_only_new_payments_are_reported_as_added(pool: ConnectionPool) -> None:
    recorded, new = new_payment(), new_payment()
    await record(pool, recorded)
    other = new_payment(id=recorded.id, amount=5)
    assert await record(pool, other, new) == {new.id}
    async with Payments(pool) as stored:
        assert await stored.get_many([recorded.id]) == [recorded.view()]


async def test_first_duplicate_in_a_statement_wins(pool: ConnectionPool) -> None:
    first = new_payment(amount=1)
    async with Payments(pool) as stored:
        assert await stored.add([first, new_payment(id=first.id, amount=2), first]) == {first.id}
        (view,) = await stored.get_many([first.id])
    assert view.amount == 1


async def test_nothing_to_add_adds_nothing(pool: ConnectionPool) -> None:
    async with Payments(pool) as stored:
        assert await stored.add([]) == set()
        await stored.emit([])
        assert await stored.closed_payers([]) == set()
        await stored.upsert_payers([])


async def test_bad_payment_is_isolated_by_bisection(pool: ConnectionPool) -> None:
    payments = [new_payment() for _ in range(20)]
    bad = {3: new_payment(amount=REFUSED_AMOUNT), 11: replace(new_payment(), metadata={"nul": "\x00"})}
    for place, payment in bad.items():
        payments[place] = payment

    async def work(batch: object) -> None:
        await record(pool, *batch)  # type: ignore[misc]

    failures = await bisect_failures(work, payments)
    assert {place for place, failure in enumerate(failures) if failure} == set(bad)
    assert all(isinstance(failure, RefusedByDatabase) for failure in failures if failure)
    async with Payments(pool) as stored:
        views = await stored.get_many([payment.id for payment in payments])
    assert {view.id for view in views} == {payment.id for payment in payments} - {each.id for each in bad.values()}


async def test_transactions_with_the_same_payments_do_not_deadlock(pool: ConnectionPool) -> None:
    payments = [new_payment() for _ in range(40)]
    orders = [payments, payments[::-1], payments[20:] + payments[:20], payments[::2] + payments[1::2]]
    for _ in range(5):
        added = await asyncio.gather(*(record(pool, *order) for order in orders * 2))
        assert sorted(id_ for ids in added for id_ in ids) == sorted(payment.id for payment in payments)
        payments = [new_payment() for _ in range(40)]
        orders = [payments, payments[::-1], payments[20:] + payments[:20], payments[::2] + payments[1::2]]


async def test_swallowed_failure_of_a_statement_is_not_a_commit(pool: ConnectionPool) -> None:
    payment = new_payment()

    async def swallow() -> None:
        async with Payments(pool) as stored:
            await stored.add([payment])
            with suppress(CheckViolationError):
                await stored.add([new_payment(amount=REFUSED_AMOUNT)])

    with pytest.raises(RuntimeError, match="rolled back"):
        await swallow()
    async with Payments(pool) as stored:
        assert await stored.get_many([payment.id]) == []


async def test_cancelled_statement_leaves_no_lock(pool: ConnectionPool) -> None:
    payment = new_payment()
    async with Payments(pool) as first:
        await first.add([payment])
        waiting = asyncio.create_task(record(pool, payment))
        await eventually(lambda: lock_is_awaited(pool))
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert await record(pool, payment) == set()
    async with Payments(pool) as stored:
        assert await stored.get_many([payment.id]) == [payment.view()]
