"""Recording and reading payments: one INSERT for each, in the request."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, HTTPException, Query
from sqlmodel import col, select

from monolith.database import DbSession
from monolith.models import CreatePayment, Payment, PaymentPage, PaymentView
from monolith.security import Caller

router = APIRouter(prefix="/payments")


@router.post("", status_code=201, response_model=PaymentView)
async def create_payment(request: CreatePayment, caller: Caller, session: DbSession) -> Payment:
    """Record a payment of the caller."""
    if request.user_id not in {None, caller}:
        raise HTTPException(403)
    payment = Payment(user_id=caller, amount=request.amount, currency=request.currency, metadata_=request.metadata)
    session.add(payment)
    await session.commit()
    return payment


@router.get("/{payment_id}", response_model=PaymentView)
async def get_payment(payment_id: UUID, caller: Caller, session: DbSession) -> Payment:
    """Return a payment of the caller."""
    payment = await session.get(Payment, payment_id)
    if payment is None or payment.user_id != caller:
        raise HTTPException(404)
    return payment


@router.get("")
async def list_payments(
    caller: Caller,
    session: DbSession,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: UUID | None = None,
) -> PaymentPage:
    """Return a page of the caller's payments, newest first; the cursor is the id of the last one seen."""
    query = select(Payment).where(Payment.user_id == caller).order_by(col(Payment.id).desc()).limit(limit + 1)
    if cursor is not None:
        query = query.where(Payment.id < cursor)
    found = (await session.exec(query)).all()
    data = [PaymentView.model_validate(payment) for payment in found[:limit]]
    has_more = len(found) > limit
    return PaymentPage(data=data, has_more=has_more, next_cursor=data[-1].id if has_more else None)
