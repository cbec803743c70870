"""Events that NATS refused for good, for operators."""

from enum import StrEnum
from functools import cache
from typing import Any
from uuid import UUID

from pydantic import Field, create_model

from contracts.base import Instant, Message, Request, example

_EVENT = {
    "id": 4711,
    "subject": "user.updated",
    "aggregateId": "6f1ed002-ab59-8f12-9a34-d5a3f9b1c7e2",
    "reason": "The stream USER_EVENTS does not store its subject.",
    "attempts": 3,
    "occurredAt": "2026-02-01T12:00:00Z",
    "refusedAt": "2026-02-01T12:00:01Z",
    "waiting": 2,
    "requestId": "0198c5c8-7c1e-7a52-9d3b-4f1e8a6b2c01",
    "bytes": 2,
    "body": "{}",
}


class RefusedEvent(Message):
    """An event in the database of its service that NATS refused."""

    model_config = example(**_EVENT)

    id: int = Field(description="Its number in the outbox of its service.")
    subject: str
    aggregate_id: UUID = Field(description="Id of the user, payment, session or key.")
    reason: str = Field(description="Why NATS refused it, in a sentence.")
    attempts: int
    occurred_at: Instant
    refused_at: Instant
    waiting: int = Field(description="Number of later events of the same user, payment, session or key that wait.")
    request_id: str = Field(description="Id of the HTTP request that caused it; empty if there is none.")
    bytes: int = Field(description="Size of its body.")
    body: str = Field(description="The first 4,096 bytes of its body, JSON.")


class RefusedEventList(Message):
    """Refused events, the oldest first."""

    model_config = example(data=[_EVENT])

    data: tuple[RefusedEvent, ...]


class RefusedEventAction(StrEnum):
    """What to do with a refused event."""

    PUBLISH = "publish"
    """Try again, before the later events that wait."""
    DISCARD = "discard"
    """Remove it for good; the later events are published."""


class ListRefusedEvents(Request[RefusedEventList]):
    """Return up to 100 events that NATS refused, the oldest first."""

    model_config = example(after=0)

    after: int = Field(0, ge=0, description="The `id` of the last event of the page before.")


class SettleRefusedEvent(Request[RefusedEvent]):
    """Publish or discard an event that NATS refused; the reply is the event as it was."""

    model_config = example(id=4711, action="publish")

    id: int = Field(ge=1)
    action: RefusedEventAction


@cache
def requests_of(service: str) -> tuple[type[ListRefusedEvents], type[SettleRefusedEvent]]:
    """Return the two requests to a service about the refused events in its outbox, for operators."""
    listing = create_model(
        f"List{service.title()}RefusedEvents", __base__=ListRefusedEvents, __doc__=_of_operators(ListRefusedEvents)
    )
    settling = create_model(
        f"Settle{service.title()}RefusedEvent", __base__=SettleRefusedEvent, __doc__=_of_operators(SettleRefusedEvent)
    )
    listing.subject = f"{service}.list_refused_events"
    settling.subject = f"{service}.settle_refused_event"
    return listing, settling


def _of_operators(request: type[Request[Any]]) -> str:
    return f"{request.__doc__}\n\nFor operators."
