"""Reactions to the users service's events: they keep the payers up to date."""

from collections.abc import Sequence

from apps.payments.deps import Payments
from apps.payments.models import Payer, latest
from contracts.consumers import PAYMENTS_CHANGE_PAYER, PAYMENTS_CLOSE_PAYER, PAYMENTS_OPEN_PAYER
from contracts.users import UserCreated, UserDeleted, UserUpdated
from kit.messaging.batches import Received
from kit.messaging.consumers import DurableRouter

router = DurableRouter()


@router.consume_batch(PAYMENTS_OPEN_PAYER, in_flight=1)
@router.consume_batch(PAYMENTS_CHANGE_PAYER, in_flight=1)
@router.consume_batch(PAYMENTS_CLOSE_PAYER, in_flight=1)
async def upsert_payers(
    events: Sequence[Received[UserCreated | UserUpdated | UserDeleted]], payments: Payments
) -> None:
    """Update the payer that the event is about; a repeated or older event changes nothing."""
    async with payments:
        new = await payments.add_inbox_keys({event.inbox_key for event in events})
        await payments.upsert_payers(latest(Payer.from_event(e.message) for e in events if e.inbox_key in new))
