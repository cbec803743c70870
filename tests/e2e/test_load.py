"""Many at once, with the settings that the store has by itself."""

import time

from tests.support.http_client import calling, say
from tests.support.payment_load import Till
from tests.support.running_store import running
from tests.support.store_audit import audit_over_http, audit_payments, wait_until_settled


async def test_two_thousand_payments_by_fifty_callers_are_each_recorded_once() -> None:
    with running("--ephemeral", "--port", "0") as mkstore:
        async with calling(mkstore) as http:
            till = await Till.opened(http, 50, 2000)
            began = time.monotonic()
            await till.pay_all()
            accepted_after = time.monotonic() - began
            await wait_until_settled(mkstore)
            settled_after = time.monotonic() - began
            figures = await audit_payments(mkstore, till)
            await audit_over_http(till)
    assert len(till.answered) == 2000
    assert len({wish.id for wish in till.answered}) == 2000
    assert not any(wish.replayed for wish in till.wishes)
    assert not till.refusals
    say(f"accepted in {accepted_after:.1f} s, all recorded and told of after {settled_after:.1f} s; {figures}")
    say(f"slowest answer {till.slowest:.2f} s")
