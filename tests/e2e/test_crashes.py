"""Every process is killed in the middle of the work, one after the other, and what was answered still holds."""

import asyncio
from contextlib import suppress

from tests.e2e.audit import audit_over_http, audit_payments, audit_sign_ups
from tests.e2e.client import calling, say
from tests.e2e.paying import Register, Till
from tests.e2e.recovery import kill_and_recover
from tests.e2e.running import Running

PAYMENTS, CALLERS = 10_000, 50
AT_LEAST = 2_000
BETWEEN = 150
"""So many more payments are accepted before the next part is killed."""
LONGEST_ANSWER = 8.0


async def test_nothing_that_was_answered_is_lost_whichever_part_is_killed(battered: Running) -> None:
    async with calling(battered) as http:
        till, register = await Till.opened(http, CALLERS, PAYMENTS), Register(http)
        paying, joining = asyncio.create_task(till.pay_all()), asyncio.create_task(register.run())
        for name in ("payments", "users", "gateway", "nats", "postgres"):
            await till.wait_until_accepted(till.accepted + BETWEEN)
            before = till.accepted
            seconds = await kill_and_recover(battered, name)
            say(f"kill -9 {name}: ready again after {seconds:.1f} s, {till.accepted - before} accepted meanwhile")
        await till.wait_until_accepted(max(AT_LEAST, till.accepted + BETWEEN))
        till.closed = True
        await paying
        joining.cancel()
        with suppress(asyncio.CancelledError):
            await joining
        paid = await audit_payments(battered, till)
        joined = await audit_sign_ups(battered, register)
        await audit_over_http(till)
    say(f"{paid}; slowest answer {till.slowest:.1f} s; {joined}")
    assert till.slowest < LONGEST_ANSWER
