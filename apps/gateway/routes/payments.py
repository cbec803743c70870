"""Payments over HTTP."""

import re
from http import HTTPStatus
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Header, Query, Response
from pydantic import MISSING

from apps.gateway.deps import CurrentUser, Deps
from apps.gateway.errors import Forbidden, NotFound
from apps.gateway.http.openapi import responses, success
from apps.gateway.http.strict_requests import StrictRoute
from contracts.base import Cursor, IdempotencyKey, PageSize
from contracts.payments import Charge, ListPayments, PaymentPage, PaymentStatus, PaymentView
from kit.runtime.measurements import Counts

router = APIRouter(prefix="/payments", tags=["payments"], route_class=StrictRoute)

LONGEST_WAIT = 30
"""Longest wait that `Prefer: wait=N` may ask for, in seconds."""
_REPLAYS = Counts(
    "mkstore_idempotent_replays_total", "Payments with a used key, answered with the first response to it."
)
_HEADERS = ("Location", "Idempotent-Replayed", "Preference-Applied")
_WAIT = re.compile(r"wait\s*=\s*\"?([0-9]{1,4000})\"?", re.IGNORECASE)


class NewPayment(Charge, extra="forbid", validate_by_name=False):
    """A payment by `userId`, by default the caller."""

    user_id: UUID | MISSING = MISSING


@router.post(
    "",
    status_code=HTTPStatus.ACCEPTED,
    responses=responses(
        *(401, 403),
        also={
            201: {"model": PaymentView, **success("The payment is recorded.", *_HEADERS)},
            202: success("The payment is accepted: it will be recorded.", *_HEADERS),
        },
    ),
)
async def create_payment(
    body: NewPayment,
    caller: CurrentUser,
    deps: Deps,
    response: Response,
    idempotency_key: Annotated[IdempotencyKey | None, Header(description="One key, one payment.")] = None,
    prefer: Annotated[
        list[str], Header(description="wait=N: wait up to N seconds until the payment is recorded (RFC 7240).")
    ] = [],  # noqa: B006 - FastAPI copies it
) -> PaymentView:
    """Accept a payment: 202 when it is certain to be recorded; with `Prefer: wait=N` 201 when it is recorded."""
    accepted = await deps.acceptance.accept(
        body, caller, payer=None if body.user_id is MISSING else body.user_id, key=idempotency_key, wait=_wait(prefer)
    )
    response.headers["Location"] = f"/payments/{accepted.payment.id}"
    if accepted.repeated:
        response.headers["Idempotent-Replayed"] = "true"
        _REPLAYS.add()
    if accepted.waited is not None:
        response.headers["Preference-Applied"] = f"wait={accepted.waited}"
    if accepted.recorded:
        response.status_code = HTTPStatus.CREATED
    return accepted.payment


@router.get("/{payment_id}", responses=responses(401, 404, also={200: success("The payment.")}))
async def get_payment(payment_id: UUID, caller: CurrentUser, deps: Deps) -> PaymentView:
    """Return a payment, from the moment on in which it is accepted."""
    payment = await deps.payment(payment_id)
    if payment is None or not caller.may_see(payment.user_id):
        raise NotFound("payment")
    return payment


@router.get("", responses=responses(401, 403, also={200: success("A page of payments.")}))
async def list_payments(
    caller: CurrentUser,
    deps: Deps,
    user_id: Annotated[UUID | None, Query(alias="userId")] = None,
    status: Annotated[
        Literal[PaymentStatus.CREATED, PaymentStatus.REJECTED] | None, Query(description="created or rejected")
    ] = None,
    limit: Annotated[PageSize, Query()] = 20,
    cursor: Annotated[Cursor | None, Query()] = None,
) -> PaymentPage:
    """Return recorded payments, newest first: the caller's own; for an admin those of all users or of one."""
    if user_id is None and not caller.is_admin:
        user_id = caller.id
    if user_id is not None and not caller.may_see(user_id):
        raise Forbidden("These are another user's payments.")
    return await deps.list_payments(ListPayments(user_id=user_id, status=status, limit=limit, cursor=cursor))


def _wait(prefer: list[str]) -> int | None:
    """Parse `wait=N` of the Prefer fields (RFC 7240), at most `LONGEST_WAIT`; an unknown preference is ignored."""
    for preference in ",".join(prefer).split(","):
        if match := _WAIT.fullmatch(preference.partition(";")[0].strip()):
            return min(int(match[1]), LONGEST_WAIT)
    return None
