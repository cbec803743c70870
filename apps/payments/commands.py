"""The durable commands that the payments service consumes."""

from collections.abc import Sequence
from uuid import UUID

from structlog.stdlib import get_logger

from apps.payments.deps import PaymentLimit, Payments
from apps.payments.models import Payment
from contracts.consumers import PAYMENTS_CREATE_PAYMENT, PAYMENTS_CREATE_PAYMENTS
from contracts.payments import CreatePayment, PaymentView
from kit.messaging.batches import Received
from kit.messaging.consumers import DurableRouter
from kit.runtime.measurements import Counts
from kit.runtime.tracing import Trace

router = DurableRouter()
log = get_logger(__name__)
_DUPLICATES = Counts(
    "mkstore_duplicate_payments_total", "Commands whose payment was recorded before: used keys, and redeliveries."
)


@router.consume_batch(PAYMENTS_CREATE_PAYMENT)
@router.consume_batch(PAYMENTS_CREATE_PAYMENTS)
async def create_payments(commands: Sequence[Received[CreatePayment]], payments: Payments, limit: PaymentLimit) -> None:
    """Record a payment for each command and emit its event; of several commands with one id the first is recorded."""
    async with payments:
        closed = await payments.closed_payers({command.message.user_id for command in commands})
        decided = [
            (Payment.decide(command, limit, payer_is_closed=command.user_id in closed), trace)
            for command, trace, _ in commands
        ]
        first_by_id: dict[UUID, tuple[Payment, Trace]] = {}
        for payment, trace in decided:
            first_by_id.setdefault(payment.id, (payment, trace))
        added = await payments.add([payment for payment, _ in first_by_id.values()])
        await payments.emit(
            [(payment.event(), trace) for payment, trace in first_by_id.values() if payment.id in added]
        )
        recorded: dict[UUID, Payment | PaymentView] = {payment_id: first_by_id[payment_id][0] for payment_id in added}
        if existing := first_by_id.keys() - added:
            _DUPLICATES.add(number=len(existing))
            recorded |= {view.id: view for view in await payments.get_many(existing)}
    for payment, trace in decided:
        if not payment.same_order_as(recorded[payment.id]):
            log.warning("payment ignored: its id is taken by another", id=payment.id, request_id=trace.request_id)
