"""Answers to the requests of contracts.payments, one function each."""

import asyncio
from collections.abc import Collection
from uuid import UUID

from apps.payments.deps import FindPending, OpenPayments
from apps.payments.errors import PaymentNotFound
from apps.payments.models import Payment
from contracts.payments import (
    GetPayment,
    GetPayments,
    ListPayments,
    PaymentList,
    PaymentPage,
    PaymentView,
    RejectPayment,
)
from kit import paging
from kit.messaging.server import request_router
from kit.runtime.tracing import trace

router = request_router()


@router.subscriber(GetPayment.subject, queue="payments", max_workers=64)
async def get_payment(request: GetPayment, open_payments: OpenPayments, find_pending: FindPending) -> PaymentView:
    """Look up one payment, recorded or still waiting."""
    for view in await _look(open_payments, find_pending, [request.id]):
        return view
    raise PaymentNotFound(request.id)


@router.subscriber(GetPayments.subject, queue="payments", max_workers=64)
async def get_payments(request: GetPayments, open_payments: OpenPayments, find_pending: FindPending) -> PaymentList:
    """Look up many payments, recorded or still waiting; an unknown id is left out of the answer."""
    return PaymentList(payments=tuple(await _look(open_payments, find_pending, set(request.ids))))


@router.subscriber(RejectPayment.subject, queue="payments", max_workers=8)
async def reject_payment(request: RejectPayment, open_payments: OpenPayments) -> PaymentView:
    """Record a payment that was given up as rejected; returns the one that stands, which may be made already."""
    payment = Payment.give_up(request.command)
    async with open_payments() as payments:
        if not await payments.add([payment]):
            (standing,) = await payments.views([payment.id])
            return standing
        await payments.emit([(payment.event(), trace.get())])
    return payment.view()


@router.subscriber(ListPayments.subject, queue="payments", max_workers=64)
async def list_payments(request: ListPayments, open_payments: OpenPayments) -> PaymentPage:
    """Look through the recorded payments, newest first."""
    before = paging.decode(request.cursor)
    async with open_payments() as payments:
        found = await payments.newest(request.limit + 1, before=before, user_id=request.user_id, status=request.status)
    shown, cursor = paging.page(found, request.limit, lambda view: (view.created_at, view.id))
    return PaymentPage(payments=shown, next_cursor=cursor)


async def _look(open_payments: OpenPayments, find_pending: FindPending, ids: Collection[UUID]) -> list[PaymentView]:
    """Return the payments among `ids` that were ever accepted: a payment is always in the database or in the stream."""
    async with open_payments() as payments:
        found = await payments.views(ids)
    missing = set(ids) - {view.id for view in found}
    waiting = [command.pending() for command in await asyncio.gather(*map(find_pending, missing)) if command]
    recorded_meanwhile = missing - {view.id for view in waiting}
    if recorded_meanwhile:
        async with open_payments() as payments:
            found += await payments.views(recorded_meanwhile)
    return found + waiting
