"""The handlers of an operator's requests about refused events."""

from contracts.errors import ErrorKind
from contracts.outbox import (
    ListRefusedEvents,
    RefusedEvent,
    RefusedEventAction,
    RefusedEventList,
    SettleRefusedEvent,
    requests_of,
)
from kit.connection_pool import ConnectionPool
from kit.errors import Refusal
from kit.messaging.server import ReplyRouter
from kit.outbox.refused import RefusedEvents

_OPERATORS = 4


class RefusedEventNotFound(Refusal):
    """There is no refused event with this number: it was published or discarded, or never refused."""

    kind = ErrorKind.NOT_FOUND
    slug = "refused-event-not-found"

    def __init__(self, number: int) -> None:
        super().__init__(f"There is no refused event {number}: it was published, discarded, or never refused.")


def refused_event_router(service: str, pool: ConnectionPool) -> ReplyRouter:
    """Return a router that replies to the requests about the refused events of a service, whose database `pool` is."""
    router = ReplyRouter()
    listing, settling = requests_of(service)

    @router.reply(listing, workers=_OPERATORS)
    async def list_refused_events(request: ListRefusedEvents) -> RefusedEventList:
        """Return up to 100 events that NATS refused, the oldest first."""
        async with RefusedEvents(pool, autocommit=True) as refused:
            return RefusedEventList(data=tuple(await refused.list(request.after)))

    @router.reply(settling, workers=_OPERATORS)
    async def settle_refused_event(request: SettleRefusedEvent) -> RefusedEvent:
        """Publish an event before the later ones that wait for it, or remove it so that they go on."""
        async with RefusedEvents(pool) as refused:
            event = next(iter(await refused.list(request.id - 1)), None)
            settle = refused.publish if request.action is RefusedEventAction.PUBLISH else refused.discard
            if event is None or event.id != request.id or not await settle(request.id):
                raise RefusedEventNotFound(request.id)
            return event

    return router
