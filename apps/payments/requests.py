"""The request handlers of the payments service."""

from collections.abc import Collection
from uuid import UUID

from apps.payments.deps import Payments, PaymentsToRead, Pending
from apps.payments.models import Payment
from contracts.payments import GetPayments, ListPayments, PaymentList, PaymentPage, PaymentView, RejectPayment
from kit import paging
from kit.messaging.server import ReplyRouter
from kit.runtime.tracing import trace

router = ReplyRouter()


@router.reply(GetPayments)
async def get_payments(request: GetPayments, payments: PaymentsToRead, pending: Pending) -> PaymentList:
    """Return the payments with these ids, recorded or pending, in any order; unknown ids are left out."""
    found = await _get_many(payments, pending, set(request.ids), queued=request.queued)
    return PaymentList(payments=tuple(found))


@router.reply(RejectPayment, workers=8)
async def reject_payment(request: RejectPayment, payments: Payments) -> PaymentView:
    """Record a dead-lettered payment as rejected; return the recorded payment, which may have been created before."""
    payment = Payment.reject_by_operator(request.command)
    async with payments:
        if not await payments.add([payment]):
            (existing,) = await payments.get_many([payment.id])
            return existing
        await payments.emit([(payment.event(), trace.get())])
    return payment.view()


@router.reply(ListPayments)
async def list_payments(request: ListPayments, payments: PaymentsToRead) -> PaymentPage:
    """Return a page of the recorded payments, newest first."""
    before = paging.decode(request.cursor)
    async with payments:
        rows = await payments.list_newest(
            request.limit + 1, before=before, user_id=request.user_id, status=request.status
        )
    shown, next_cursor = paging.page(rows, request.limit, lambda view: (view.created_at, view.id))
    return PaymentPage(data=shown, next_cursor=next_cursor)


async def _get_many(
    payments: PaymentsToRead, pending: Pending, ids: Collection[UUID], *, queued: bool
) -> list[PaymentView]:
    """Return the accepted payments among `ids`: each is in the database, or its command is still in a stream."""
    async with payments:
        recorded = await payments.get_many(ids)
    missing = set(ids) - {view.id for view in recorded}
    if not missing:
        return recorded
    waiting = [command.pending() for command in await pending.find(missing, queued=queued)]
    recorded_meanwhile = missing - {view.id for view in waiting}
    if recorded_meanwhile and queued:
        async with payments:
            recorded += await payments.get_many(recorded_meanwhile)
    return recorded + waiting
