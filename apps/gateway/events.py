"""Reactions to what other services publish: wake waiting requests, feed the event streams, end sessions."""

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

from pydantic import BaseModel, TypeAdapter

from apps.gateway.payments.waiters import Waiters
from apps.gateway.public_keys import PublishedKeys
from apps.gateway.revocations import Revocations, has_ended
from apps.gateway.sse.broadcaster import Broadcaster
from contracts.keys import PublicKeys
from contracts.payments import PaymentCreated, PaymentRejected
from contracts.revocations import SessionRevocation, UserRevocation
from contracts.shards import Shards
from contracts.streams import PAYMENT_EVENTS, PUBLIC_KEYS, REVOCATIONS, USER_EVENTS
from contracts.users import UserCreated, UserDeleted, UserUpdated
from kit.messaging.demand import Demand
from kit.messaging.reader import StoredMessage
from kit.messaging.subscriptions import EventRouter
from kit.tokens import MAX_LIFETIME

_ANY_REVOCATION = TypeAdapter[SessionRevocation | UserRevocation](SessionRevocation | UserRevocation)


class _Ids(BaseModel):
    """The ids in any event. Reading only these costs 2 µs, all of it as a dictionary ten times as much."""

    class Payment(BaseModel):
        id: UUID
        userId: UUID  # noqa: N815 - the name on the wire

    class User(BaseModel):
        id: UUID

    payment: Payment | None = None
    user: User | None = None
    id: UUID | None = None


def owner_of(subject: str, body: bytes) -> UUID | None:
    """Return the user that an event belongs to, or None. Raises `ValidationError` if the body is not an event."""
    event = _Ids.model_validate_json(body)
    if subject.startswith("payment."):
        return event.payment.userId if event.payment else None
    return event.user.id if event.user else event.id


def payment_of(body: bytes) -> UUID | None:
    """Return the payment that an event is about, or None. Raises `ValidationError` if the body is not an event."""
    payment = _Ids.model_validate_json(body).payment
    return payment.id if payment else None


def event_router(
    broadcaster: Broadcaster,
    waiters: Waiters,
    revocations: Revocations,
    keys: PublishedKeys,
    payments: Sequence[Demand],
) -> EventRouter:
    """Return the router with the one subscription of this process to each event stream.

    Events of the payments of a shard arrive only while there is a demand for them.
    """
    router = EventRouter()

    _subscribe_payments(router, broadcaster, waiters, payments)

    def is_read(event: StoredMessage) -> bool:
        """Send an event of a user to its clients; what it means for tokens stands in the revocations."""
        if event.subject.startswith("user."):
            broadcaster.publish(event)
        return False

    @router.subscribe(USER_EVENTS, before=is_read)
    async def user_event(event: UserDeleted | UserUpdated | UserCreated) -> None:
        """Send the event to the user's clients."""

    def is_readable(stored: StoredMessage) -> bool:
        """Raise for any other message: it is refused, and counts as a revocation that cannot be read."""
        _ANY_REVOCATION.validate_json(stored.body)
        return True

    # From before the start: tokens of sessions that ended since may not have expired.
    @router.subscribe(
        REVOCATIONS,
        since=datetime.now(UTC) - MAX_LIFETIME,
        before=is_readable,
        refused=lambda stored: revocations.apply_unknown(stored.subject),
        up_to_date=revocations.caught_up.set,
    )
    async def revocation(revoked: SessionRevocation | UserRevocation) -> None:
        """Refuse the tokens of sessions that have ended, and end their event streams."""
        revocations.apply(revoked)
        if isinstance(revoked, SessionRevocation):
            broadcaster.disconnect(revoked.user_id, lambda session: session == revoked.session_id)
        else:
            broadcaster.disconnect(revoked.user_id, lambda session: has_ended(revoked, session))

    # The last set is stored for any time; each check of the stream confirms that no newer one exists.
    @router.subscribe(PUBLIC_KEYS, since=datetime.fromtimestamp(0, UTC), up_to_date=keys.confirm)
    async def public_keys(published: PublicKeys) -> None:
        """Verify tokens with these keys from now on."""
        keys.apply(published)

    return router


def _subscribe_payments(
    router: EventRouter, broadcaster: Broadcaster, waiters: Waiters, demands: Sequence[Demand]
) -> None:
    """Subscribe to the events of each shard, of which there are as many as `demands`."""

    def is_awaited(event: StoredMessage) -> bool:
        """Send the event to its user's clients; return whether a request waits for its payment."""
        broadcaster.publish(event)
        return bool(waiters.expected) and payment_of(event.body) in waiters.expected

    async def payment_event(event: PaymentCreated | PaymentRejected) -> None:
        """Wake the requests that wait for the payment, and send the event to its user's clients."""
        waiters.wake(event.payment)

    for shard, demand in zip(Shards(len(demands)).all, demands, strict=True):
        stream, documented = PAYMENT_EVENTS.of(shard), not shard.number
        router.subscribe(stream, before=is_awaited, demand=demand, documented=documented)(payment_event)
