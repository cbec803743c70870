"""Reactions to other services' events: wake waiting requests, feed the event streams, revoke tokens."""

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
from kit.messaging.subscriptions import EventRouter, sequence_of
from kit.tokens import MAX_LIFETIME


class _Owned(BaseModel):
    """The part of any event that names its owner."""

    class Payment(BaseModel):
        userId: UUID  # noqa: N815 - the name on the wire

    class User(BaseModel):
        id: UUID

    payment: Payment | None = None
    user: User | None = None
    id: UUID | None = None


def owner_of(subject: str, body: bytes) -> UUID | None:
    """Return the user that an event belongs to, or None."""
    event = _Owned.model_validate_json(body)
    if subject.startswith("payment."):
        return event.payment.userId if event.payment else None
    return event.user.id if event.user else event.id


def event_router(broadcaster: Broadcaster, waiters: Waiters, verifier: JwksVerifier) -> EventRouter:
    """Return the router with the one subscription of this process to each event stream."""
    router = EventRouter()

    @router.subscribe(PAYMENT_EVENTS)
    async def payment_event(event: PaymentCreated | PaymentRejected, message: NatsMessage) -> None:
        """Wake the requests that wait for the payment, and send the event to its user's clients."""
        waiters.wake(event.payment)
        broadcaster.publish(_stored(message, PAYMENT_EVENTS, broadcaster))

    # From before the start: tokens of users who were deleted or disabled since may not have expired.
    @router.subscribe(USER_EVENTS, since=datetime.now(UTC) - MAX_LIFETIME)
    async def user_event(event: UserDeleted | UserUpdated | UserCreated, message: NatsMessage) -> None:
        """Send the event to the user's clients, and revoke the tokens of a deleted or disabled user."""
        broadcaster.publish(_stored(message, USER_EVENTS, broadcaster))
        if isinstance(event, UserDeleted):
            verifier.revoke(event.id, event.deleted_at)
            broadcaster.disconnect(event.id)
        elif event.user.disabled:
            verifier.revoke(event.user.id, event.user.updated_at)
            broadcaster.disconnect(event.user.id)

    return router


def _stored(message: NatsMessage, stream: Stream, broadcaster: Broadcaster) -> StoredEvent:
    raw = message.raw_message
    sequence = sequence_of(raw)
    if sequence is None:  # TestNatsBroker has no stream
        sequence = (broadcaster.position.users if stream is USER_EVENTS else broadcaster.position.payments) + 1
    return StoredEvent(stream.name, sequence, raw.subject, raw.data)
