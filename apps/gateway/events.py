"""Reactions to the other services' events: wakes who waits, feeds the event streams, drops what is stale."""

from datetime import UTC, datetime
from uuid import UUID

from faststream.nats.annotations import NatsMessage
from pydantic import BaseModel

from apps.gateway.auth import JwksVerifier
from apps.gateway.payments.waiters import Waiters
from apps.gateway.sse.broadcaster import Broadcaster
from apps.gateway.sse.history import StoredEvent
from contracts.payments import PaymentCreated, PaymentRejected
from contracts.streams import PAYMENT_EVENTS, USER_EVENTS, Stream
from contracts.users import UserCreated, UserDeleted, UserUpdated
from kit.messaging.consumers import EventRouter, sequence_of
from kit.tokens import MAX_LIFETIME


class _Owned(BaseModel):
    """What is needed of any event to know whose it is."""

    class Payment(BaseModel):
        userId: UUID  # noqa: N815 - as it stands in the body

    class User(BaseModel):
        id: UUID

    payment: Payment | None = None
    user: User | None = None
    id: UUID | None = None


def owner_of(subject: str, body: bytes) -> UUID | None:
    """Tell which user an event is for; None where it is for none."""
    event = _Owned.model_validate_json(body)
    if subject.startswith("payment."):
        return event.payment.userId if event.payment else None
    return event.user.id if event.user else event.id


def event_router(feed: Broadcaster, waiters: Waiters, keys: JwksVerifier) -> EventRouter:
    """Make the gateway's one reader of each event stream."""
    router = EventRouter()

    @router.follows(PAYMENT_EVENTS)
    async def payment_event(event: PaymentCreated | PaymentRejected, message: NatsMessage) -> None:
        """Wake those who wait for the payment, and tell its user's clients."""
        waiters.wake(event.payment)
        feed.take(_stored(message, PAYMENT_EVENTS, feed))

    # From before the start: a token of somebody who is gone since may still be within its time.
    @router.follows(USER_EVENTS, since=datetime.now(UTC) - MAX_LIFETIME)
    async def user_event(event: UserDeleted | UserUpdated | UserCreated, message: NatsMessage) -> None:
        """Take no more tokens of who is gone or disabled, and tell the user's clients."""
        feed.take(_stored(message, USER_EVENTS, feed))
        if isinstance(event, UserDeleted):
            keys.revoke(event.id, event.deleted_at)
            feed.end(event.id)
        elif event.user.disabled:
            keys.revoke(event.user.id, event.user.updated_at)
            feed.end(event.user.id)

    return router


def _stored(message: NatsMessage, stream: Stream, feed: Broadcaster) -> StoredEvent:
    raw = message.raw_message
    sequence = sequence_of(raw)
    if sequence is None:  # in memory
        sequence = (feed.position.users if stream is USER_EVENTS else feed.position.payments) + 1
    return StoredEvent(stream.name, sequence, raw.subject, raw.data)
