"""The durable commands that the payments service takes from their stream."""

from collections.abc import Sequence
from functools import partial
from uuid import UUID

from structlog.stdlib import get_logger

from apps.payments.deps import OpenPayments, Order, Record
from apps.payments.models import Payment
from contracts.payments import CreatePayment
from contracts.streams import PAYMENT_COMMANDS
from kit.batching import bisect_failures
from kit.messaging.consumers import DurableRouter
from kit.runtime.tracing import Trace, trace

router = DurableRouter("payments")
log = get_logger(__name__)


@router.takes(CreatePayment, PAYMENT_COMMANDS)
async def create_payment(command: CreatePayment, record: Record) -> None:
    """Record a payment; whoever sends it twice under one id makes one payment."""
    if failure := await record(Order(command, trace.get())):
        raise failure


async def record_all(open_payments: OpenPayments, limit: int, orders: Sequence[Order]) -> list[Exception | None]:
    """Record `orders` in one transaction, and tell of each what kept it from being recorded.

    Raises `Unavailable` or `OutcomeUnknown`, for all of them, when the database is away.
    """
    return await bisect_failures(partial(_record, open_payments, limit), orders)


async def _record(open_payments: OpenPayments, limit: int, orders: Sequence[Order]) -> None:
    async with open_payments() as payments:
        closed = await payments.closed_payers({order.command.user_id for order in orders})
        decided = [
            (Payment.decide(order.command, limit, payer_is_closed=order.command.user_id in closed), order.trace)
            for order in orders
        ]
        firsts: dict[UUID, tuple[Payment, Trace]] = {}
        for payment, origin in decided:
            firsts.setdefault(payment.id, (payment, origin))
        added = await payments.add([payment for payment, _ in firsts.values()])
        await payments.emit([(payment.event(), origin) for payment, origin in firsts.values() if payment.id in added])
        standing = {payment_id: firsts[payment_id][0].view() for payment_id in added}
        if known := firsts.keys() - added:
            standing |= {view.id: view for view in await payments.views(known)}
    for payment, origin in decided:
        if not payment.orders_the_same_as(standing[payment.id]):
            log.warning("another payment has this id: the first stands", id=payment.id, request_id=origin.request_id)
