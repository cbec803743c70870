"""Reactions to the users service's events: who may pay, as last told."""

from collections.abc import Sequence
from functools import partial

from apps.payments.deps import Learn, OpenPayments, Told
from apps.payments.models import Payer, newest
from contracts.streams import USER_EVENTS
from contracts.users import UserCreated, UserDeleted, UserUpdated
from kit.batching import bisect_failures
from kit.messaging.consumers import DurableRouter
from kit.messaging.inbox_key import MessageInboxKey

router = DurableRouter("payments")


@router.takes(UserCreated, USER_EVENTS)
async def open_payer(event: UserCreated, mark: MessageInboxKey, learn: Learn) -> None:
    """Know a new user as somebody who may pay."""
    await _learn(learn, Told(mark, Payer.told_by(event)))


@router.takes(UserUpdated, USER_EVENTS)
async def change_payer(event: UserUpdated, mark: MessageInboxKey, learn: Learn) -> None:
    """Let a user who was disabled pay no more, and one who was enabled pay again."""
    await _learn(learn, Told(mark, Payer.told_by(event)))


@router.takes(UserDeleted, USER_EVENTS)
async def close_payer(event: UserDeleted, mark: MessageInboxKey, learn: Learn) -> None:
    """Let a user who is gone pay no more."""
    await _learn(learn, Told(mark, Payer.told_by(event)))


async def _learn(learn: Learn, told: Told) -> None:
    if failure := await learn(told):
        raise failure


async def learn_all(open_payments: OpenPayments, told: Sequence[Told]) -> list[Exception | None]:
    """Take in what was told, in one transaction with the marks that it was; tell of each what kept it from that.

    What comes again changes nothing, and neither does what is older than what is known. Raises `Unavailable` or
    `OutcomeUnknown`, for all of it, when the database is away.
    """
    return await bisect_failures(partial(_take_in, open_payments), told)


async def _take_in(open_payments: OpenPayments, told: Sequence[Told]) -> None:
    async with open_payments() as payments:
        new = await payments.mark([each.mark for each in told])
        await payments.learn(newest(each.payer for each in told if each.mark in new))
