"""The request handlers of the payments service."""

import asyncio
from collections.abc import Collection
from uuid import UUID

from apps.payments.deps import FindPending, Payments, PaymentsToRead
from apps.payments.models import Payment
from contracts.payments import GetPayments, ListPayments, PaymentList, PaymentPage, PaymentView, RejectPayment
from kit import paging
from kit.messaging.server import ReplyRouter
from kit.runtime.tracing import trace

router = ReplyRouter()


@router.reply(GetPayments)
async def get_payments(request: GetPayments, payments: PaymentsToRead, find_pending: FindPending) -> PaymentList:
    """Return the payments with these ids, recorded or pending, in any order; unknown ids are left out."""
    return PaymentList(payments=tuple(await _get_many(payments, find_pending, set(request.ids))))


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


async def _get_many(payments: PaymentsToRead, find_pending: FindPending, ids: Collection[UUID]) -> list[PaymentView]:
    """Return the accepted payments among `ids`: each is in the database, or its command is still in a stream."""
    async with payments:
        recorded = await payments.get_many(ids)
    missing = set(ids) - {view.id for view in recorded}
    pending = [command.pending() for command in await asyncio.gather(*map(find_pending, missing)) if command]
    recorded_meanwhile = missing - {view.id for view in pending}
    if recorded_meanwhile:
        async with payments:
            recorded += await payments.get_many(recorded_meanwhile)
    return recorded + pending
