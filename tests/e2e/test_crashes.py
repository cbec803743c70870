"""Every single process is killed in the middle of the work, and what was answered still holds."""

import asyncio
from contextlib import suppress

import pytest

from tests.e2e.audit import audit_over_http, audit_payments, audit_sign_ups
from tests.e2e.client import calling, say
from tests.e2e.paying import Register, Till
from tests.e2e.recovery import kill_and_recover
from tests.e2e.running import Running

PAYMENTS, CALLERS = 2000, 16
LONGEST_ANSWER = 8.0


@pytest.mark.parametrize("name", ["payments", "users", "gateway", "nats", "postgres"])
async def test_nothing_that_was_answered_is_lost_when_one_part_is_killed(battered: Running, name: str) -> None:
    async with calling(battered) as http:
        till, register = await Till.opened(http, CALLERS, PAYMENTS), Register(http)
        paying, joining = asyncio.create_task(till.pay_all()), asyncio.create_task(register.run())
        await till.wait_until_accepted(PAYMENTS // 4)
        seconds = await kill_and_recover(battered, name)
        after = till.accepted
        await paying
        joining.cancel()
        with suppress(asyncio.CancelledError):
            await joining
        paid = await audit_payments(battered, till)
        joined = await audit_sign_ups(battered, register)
        await audit_over_http(till)
    say(f"kill -9 {name}: ready again after {seconds:.1f} s, {after} accepted by then; {paid}")
    say(f"slowest answer {till.slowest:.1f} s; {joined}")
    keyed = [wish for wish in till.wishes if wish.key]
    assert all(wish.id for wish in keyed), "a keyed payment, repeated until it is answered, was not"
    assert till.slowest < LONGEST_ANSWER
