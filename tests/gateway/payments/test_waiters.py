"""Those who wait for a payment."""

import asyncio
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from apps.gateway.payments.waiters import Waiters
from contracts.payments import PaymentStatus, PaymentView


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


async def test_whoever_waits_for_it_is_told_and_nobody_else() -> None:
    waiters, made, other = Waiters(), payment(uuid4()), uuid4()
    with waiters.expect(made.id) as one, waiters.expect(made.id) as two, waiters.expect(other) as three:
        waiting = asyncio.gather(one(30), two(30))
        await asyncio.sleep(0)
        waiters.wake(made)
        waiters.wake(made)
        assert list(await waiting) == [made, made]
        assert await three(0) is None
    assert not waiters._waiting


async def test_what_was_recorded_before_the_wait_began_is_known() -> None:
    waiters, made = Waiters(), payment(uuid4())
    with waiters.expect(made.id) as recorded:
        waiters.wake(made)
        assert await recorded(0) == made


async def test_who_has_waited_long_enough_is_told_nothing() -> None:
    waiters, made = Waiters(), payment(uuid4())
    with waiters.expect(made.id) as recorded:
        assert await recorded(0) is None
        assert await recorded(0.01) is None
        waiters.wake(made)  # too late for this one, and no error
    waiters.wake(made)
    assert not waiters._waiting


async def test_who_leaves_is_forgotten() -> None:
    waiters, made = Waiters(), payment(uuid4())

    async def wait() -> None:
        with waiters.expect(made.id) as recorded:
            await recorded(30)

    leaving = asyncio.create_task(wait())
    await asyncio.sleep(0)
    assert waiters._waiting
    leaving.cancel()
    await asyncio.wait([leaving])
    assert not waiters._waiting
    with pytest.raises(RuntimeError), waiters.expect(made.id):
        raise RuntimeError
    assert not waiters._waiting
