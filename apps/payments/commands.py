"""The durable commands that the payments service takes from their stream."""

from collections.abc import Sequence
from uuid import UUID

from structlog.stdlib import get_logger

from apps.payments.deps import OpenPayments, Order, Record
from apps.payments.models import Payment
from contracts.payments import CreatePayment
from contracts.streams import PAYMENT_COMMANDS
from kit.consuming import CommandRouter
from kit.errors import OutcomeUnknown, Unavailable
from kit.telemetry import Trace, trace

router = CommandRouter("payments")
log = get_logger(__name__)


@router.takes(CreatePayment, PAYMENT_COMMANDS)
async def create_payment(command: CreatePayment, record: Record) -> None:
    """Record a payment; whoever sends it twice under one id makes one payment."""
    if failure := await record(Order(command, trace.get())):
        raise failure


async def record_all(open_payments: OpenPayments, limit: int, orders: Sequence[Order]) -> list[Exception | None]:
    """Record `orders` in one transaction, and tell of each what kept it from being recorded.

    One that the database refuses does not take its neighbours along: the group is halved until it stands alone.
    Raises `Unavailable` or `OutcomeUnknown`, for all of them, when the database is away.
    """
    try:
        await _record(open_payments, limit, orders)
    except (Unavailable, OutcomeUnknown):
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, it is one order's fault and not its neighbours'
        if len(orders) == 1:
            return [error]
        half = len(orders) // 2
        return [
            *await record_all(open_payments, limit, orders[:half]),
            *await record_all(open_payments, limit, orders[half:]),
        ]
    return [None] * len(orders)


async def _record(open_payments: OpenPayments, limit: int, orders: Sequence[Order]) -> None:
    decided = [(Payment.decide(order.command, limit), order.trace) for order in orders]
    firsts: dict[UUID, tuple[Payment, Trace]] = {}
    for payment, origin in decided:
        firsts.setdefault(payment.id, (payment, origin))
    async with open_payments() as payments:
        added = await payments.add([payment for payment, _ in firsts.values()])
        await payments.emit([(payment.event(), origin) for payment, origin in firsts.values() if payment.id in added])
        standing = {payment_id: firsts[payment_id][0].view() for payment_id in added}
        if known := firsts.keys() - added:
            standing |= {view.id: view for view in await payments.views(known)}
    for payment, origin in decided:
        if not payment.orders_the_same_as(standing[payment.id]):
            log.warning("another payment has this id: the first stands", id=payment.id, request_id=origin.request_id)
