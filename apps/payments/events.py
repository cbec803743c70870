"""Reactions to events: those of the users service keep the payers up to date, those of other shards are copied."""

from collections.abc import Sequence

from apps.payments.deps import Payments
from apps.payments.models import Payer, Payment, latest
from contracts.consumers import PAYMENTS_CHANGE_PAYER, PAYMENTS_CLOSE_PAYER, PAYMENTS_OPEN_PAYER, copying
from contracts.payments import PaymentCreated, PaymentRejected
from contracts.shards import Shard
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


def copies_for(shard: Shard) -> DurableRouter:
    """Return a router that copies the payments of a shard's payers from the other shards; empty for the only shard."""
    copies = DurableRouter()
    for durable in copying(shard):
        copies.consume_batch(durable)(copy_payments)
    return copies


async def copy_payments(events: Sequence[Received[PaymentCreated | PaymentRejected]], payments: Payments) -> None:
    """Insert payments that another shard has recorded, for the lists of their payers; a repetition changes nothing."""
    async with payments:
        await payments.add([Payment.copy_of(event.message.payment) for event in events])
