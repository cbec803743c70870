"""Payments over HTTP."""

import re
from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Header, Query, Response
from pydantic import MISSING, BaseModel, ConfigDict, Field

from apps.gateway.deps import CurrentUser, Gateway
from apps.gateway.errors import Forbidden, NotFound, UnknownUser
from apps.gateway.http.openapi import answered, documented
from apps.gateway.http.strict_bodies import StrictRoute
from contracts.base import Cursor, PageSize
from contracts.payments import Charge, ListPayments, PaymentStatus, PaymentView

router = APIRouter(prefix="/payments", tags=["payments"], route_class=StrictRoute)

LONGEST_WAIT = 30
_HEADERS = ("Location", "Idempotent-Replayed", "Preference-Applied")
_WAIT = re.compile(r"wait\s*=\s*\"?([0-9]{1,4000})\"?", re.IGNORECASE)


class NewPayment(Charge, extra="forbid", validate_by_name=False):
    """Who pays how much; who is left out is the caller."""

    user_id: UUID | MISSING = MISSING


class Payments(BaseModel):
    """A page of payments, newest first."""

    model_config = ConfigDict(validate_by_name=True)

    data: tuple[PaymentView, ...]
    has_more: bool = Field(alias="hasMore")
    next_cursor: str | None = Field(alias="nextCursor", description="The cursor of the next page.")


@router.post(
    "",
    status_code=HTTPStatus.ACCEPTED,
    responses=documented(
        *(401, 403),
        also={
            201: {"model": PaymentView, **answered("Recorded: it was waited for.", *_HEADERS)},
            202: answered("Certain to be recorded.", *_HEADERS),
        },
    ),
)
async def create_payment(
    body: NewPayment,
    caller: CurrentUser,
    gateway: Gateway,
    response: Response,
    idempotency_key: Annotated[
        str | None,
        Header(min_length=1, max_length=255, pattern=r"^[\x20-\x7e]+$", description="The same key makes one payment."),
    ] = None,
    prefer: Annotated[
        list[str], Header(description="wait=N: up to N seconds for the recorded payment (RFC 7240).")
    ] = [],  # noqa: B006 - FastAPI copies it
) -> PaymentView:
    """Pay. The answer comes when the payment is certain to be recorded; with `Prefer: wait=N` when it is recorded."""
    payer = caller.id if body.user_id is MISSING else body.user_id
    if not caller.may_see(payer):
        raise Forbidden("Only an admin pays for another user.")
    command = gateway.intake.command(body, payer=payer, caller=caller.id, key=idempotency_key)
    with gateway.waiters.expect(command.id) as recorded:
        accepted = await gateway.intake.replay(command) if idempotency_key else None
        if accepted is None:
            if payer != caller.id:
                await _must_exist(payer, gateway)
            accepted = await gateway.intake.accept(command, keyed=idempotency_key is not None)
        response.headers["Location"] = f"/payments/{command.id}"
        if accepted.replayed:
            response.headers["Idempotent-Replayed"] = "true"
        if (seconds := _wait(prefer)) is None:
            return accepted.first_answer
        response.headers["Preference-Applied"] = f"wait={seconds}"
        if accepted.payment.status is not PaymentStatus.PENDING:
            payment: PaymentView | None = accepted.payment
        else:
            payment = await recorded(seconds)
    if payment is None:
        return accepted.payment
    response.status_code = HTTPStatus.CREATED
    return payment


@router.get("/{payment_id}", responses=documented(401, 404, also={200: answered("The payment.")}))
async def get_payment(payment_id: UUID, caller: CurrentUser, gateway: Gateway) -> PaymentView:
    """Show one payment, from the moment on in which it was accepted."""
    payment = await gateway.services.payment(payment_id)
    if payment is None or not caller.may_see(payment.user_id):
        raise NotFound("payment")
    return payment


@router.get("", responses=documented(401, 403, also={200: answered("A page of payments.")}))
async def list_payments(
    caller: CurrentUser,
    gateway: Gateway,
    user_id: Annotated[UUID | None, Query(alias="userId")] = None,
    status: Annotated[PaymentStatus | None, Query(description="Of what is recorded: created or rejected.")] = None,
    limit: Annotated[PageSize, Query()] = 20,
    cursor: Annotated[Cursor | None, Query()] = None,
) -> Payments:
    """Show recorded payments, newest first: the caller's own; for an admin everybody's or one user's."""
    if user_id is None and not caller.is_admin:
        user_id = caller.id
    if user_id is not None and not caller.may_see(user_id):
        raise Forbidden("These are another user's payments.")
    page = await gateway.services.ask(ListPayments(user_id=user_id, status=status, limit=limit, cursor=cursor))
    return Payments(data=page.payments, has_more=page.next_cursor is not None, next_cursor=page.next_cursor)


async def _must_exist(user: UUID, gateway: Gateway) -> None:
    if await gateway.services.user(user) is None:
        raise UnknownUser


def _wait(prefer: list[str]) -> int | None:
    """Read `wait=N` of the Prefer fields (RFC 7240), at most half a minute; what cannot be read is no preference."""
    for preference in ",".join(prefer).split(","):
        if found := _WAIT.fullmatch(preference.partition(";")[0].strip()):
            return min(int(found[1]), LONGEST_WAIT)
    return None
