"""Requests that wait until a payment is recorded."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from apps.gateway.payments.waiters import Waiters
from contracts.payments import PaymentStatus, PaymentView
from kit.errors import Unavailable


def payment(payment_id: UUID) -> PaymentView:
    return PaymentView(
        id=payment_id,
        user_id=uuid4(),
        amount=1,
        currency="USD",
        metadata={},
        status=PaymentStatus.CREATED,
        created_at=datetime.now(UTC),
    )


async def test_event_wakes_the_waiters_of_its_payment_only() -> None:
    waiters, created, other = Waiters(), payment(uuid4()), uuid4()
    async with (
        waiters.expect(created.id) as one,
        waiters.expect(created.id) as two,
        waiters.expect(other) as three,
    ):
        waiting = asyncio.gather(one(30), two(30))
        await asyncio.sleep(0)
        waiters.wake(created)
        waiters.wake(created)
        assert list(await waiting) == [created, created]
        assert await three(0) is None
    assert not waiters.expected


async def test_event_before_the_wait_counts() -> None:
    waiters, created = Waiters(), payment(uuid4())
    async with waiters.expect(created.id) as wait_recorded:
        waiters.wake(created)
        assert await wait_recorded(0) == created


async def test_wait_ends_with_none_after_its_timeout() -> None:
    waiters, created = Waiters(), payment(uuid4())
    async with waiters.expect(created.id) as wait_recorded:
        assert await wait_recorded(0) is None
        assert await wait_recorded(0.01) is None
        waiters.wake(created)  # too late, and not an error
    waiters.wake(created)
    assert not waiters.expected


async def test_cancelled_waiter_leaves_nothing() -> None:
    waiters, created = Waiters(), payment(uuid4())

    async def wait() -> None:
        async with waiters.expect(created.id) as wait_recorded:
            await wait_recorded(30)

    leaving = asyncio.create_task(wait())
    await asyncio.sleep(0)
    assert set(waiters.expected) == {created.id}
    leaving.cancel()
    await asyncio.wait([leaving])
    assert not waiters.expected
    with pytest.raises(RuntimeError):
        async with waiters.expect(created.id):
            raise RuntimeError
    assert not waiters.expected


async def test_waiters_above_the_limit_do_not_wait() -> None:
    waiters = Waiters(limit=2)
    async with AsyncExitStack() as stack:
        waits = [await stack.enter_async_context(waiters.expect(uuid4())) for _ in range(3)]
        waiting = [asyncio.ensure_future(each(30)) for each in waits[:2]]
        await asyncio.sleep(0)
        assert await asyncio.wait_for(waits[2](3600), 60) is None
        waiting[0].cancel()
        await asyncio.wait(waiting[:1])
        third = asyncio.ensure_future(waits[2](30))
        await asyncio.sleep(0)
        assert not third.done()
        for each in (waiting[1], third):
            each.cancel()


async def test_nothing_is_waited_for_when_no_event_can_arrive() -> None:
    @asynccontextmanager
    async def unavailable() -> AsyncIterator[int]:
        if waiters.expected:
            raise Unavailable("message broker")
        yield 0

    waiters, created = Waiters(), payment(uuid4())
    async with waiters.expect(created.id, needed=unavailable) as wait_recorded:
        waiters.wake(created)
        assert await asyncio.wait_for(wait_recorded(3600), 60) is None
    assert not waiters.expected
