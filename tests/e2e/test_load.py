"""Many concurrent payments on a store with default settings."""

from tests.support.http_client import calling, say
from tests.support.payment_load import PaymentLoad
from tests.support.running_store import running
from tests.support.store_audit import audit_over_http, audit_payments, wait_until_settled


async def test_two_thousand_payments_by_fifty_callers_are_recorded_once() -> None:
    with running("--ephemeral", "--port", "0") as mkstore:
        async with calling(mkstore) as http:
            load = await PaymentLoad.create(http, 50, 2000)
            await load.run()
            await wait_until_settled(mkstore)
            figures = await audit_payments(mkstore, load)
            await audit_over_http(load)
    assert len(load.answered) == 2000
    assert len({attempt.id for attempt in load.answered}) == 2000
    assert not any(attempt.replayed for attempt in load.attempts)
    assert not load.refusals
    say(figures)
