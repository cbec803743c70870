"""What a store in memory has recorded: published events, deliveries to durable consumers, and dead letters."""

from collections import Counter
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

from pydantic import ValidationError

from contracts.base import DurableCommand, Event, Message
from contracts.consumers import Durable
from contracts.headers import DEAD_CONSUMER
from contracts.shards import contract_subject
from contracts.streams import DEAD, DEAD_LETTERS, covers
from kit.asyncapi.reader import wildcard_subject
from kit.messaging.dead_letters import DeadLetterRecord
from mkstore.testing.deliveries import Delivery, Outcome, Stored
from mkstore.testing.streams import MemoryStreams

AnyMessage = TypeVar("AnyMessage", bound=Message)
Selector = Durable | type[DurableCommand | Event]
"""A durable consumer, or a class of messages for all consumers of it."""


class Consumption(NamedTuple):
    """One message and one durable consumer of it."""

    consumer: str
    """Name of the durable consumer."""
    message: Any
    """The message as its contract; None if it is invalid."""
    outcome: Outcome
    """Whether it is handled or dead-lettered, or waits for its first or next attempt."""
    attempts: int
    """How often it was delivered."""
    dead_letters: tuple[DeadLetterRecord, ...]
    """What was given up: the message itself, or commands of a batch."""


class Records:
    """Reads what the streams of a store have recorded since it began."""

    def __init__(self, streams: MemoryStreams) -> None:
        self._streams = streams

    def published(self, contract: type[AnyMessage], aggregate_id: UUID | None) -> list[AnyMessage]:
        """Return the events, commands or states of a class, in order; with an id only the events of this aggregate."""
        wanted = _pattern(contract)
        found = [
            contract.model_validate_json(stored.body)
            for stored in self._streams.published
            if covers(wanted, contract_subject(stored.subject))
        ]
        return [each for each in found if aggregate_id in {None, getattr(each, "aggregate_id", None)}]

    def consumed(self, selector: Selector) -> list[Consumption]:
        """Return what was delivered to a durable consumer, or to every consumer of a class, in order."""
        return [_consumption(each) for each in self._streams.deliveries if _is_selected(each, selector)]

    def dead_lettered(self, selector: Selector, reason: str) -> list[DeadLetterRecord]:
        """Return the dead letters of a consumer, or with the subject of a class; with a reason only those."""
        letters = [_letter(each) for each in self._streams.published if each.stream.name == DEAD_LETTERS.name]
        return [each for each in letters if _has(each, selector) and reason in {"", each.reason}]

    def list_published(self) -> str:
        """Return the published messages as a sentence."""
        return "Published: " + _counts(each.subject for each in self._streams.published)

    def list_consumed(self) -> str:
        """Return the deliveries as a sentence."""
        outcomes = (
            f"{each.consumer.name} {each.message.subject} {each.outcome} (attempts: {each.attempts})"
            for each in self._streams.deliveries
        )
        return "Delivered: " + _counts(outcomes)

    def list_dead_lettered(self) -> str:
        """Return the dead letters as a sentence."""
        letters = map(_letter, self._streams.messages(DEAD_LETTERS))
        found = (f"{each.subject} of {each.headers[DEAD_CONSUMER]}: {each.reason}" for each in letters)
        return "Dead-lettered: " + _counts(found)


def name_of(selector: Selector | type[Message]) -> str:
    """Return how a failed expectation calls a consumer or a class."""
    return selector.name if isinstance(selector, Durable) else selector.__name__


def _counts(texts: Any) -> str:
    counts = Counter(texts)
    return ", ".join(f"{text}, {count} times" if count > 1 else text for text, count in counts.items()) or "nothing"


def _pattern(contract: Any) -> str:
    return wildcard_subject(contract.subject)


def _is_selected(delivery: Delivery, selector: Selector) -> bool:
    if isinstance(selector, Durable):
        return delivery.consumer.name == selector.name
    return delivery.consumer.contract is selector


def _has(letter: DeadLetterRecord, selector: Selector) -> bool:
    if isinstance(selector, Durable):
        return letter.headers.get(DEAD_CONSUMER) == selector.name
    return covers(_pattern(selector), contract_subject(letter.subject))


def _consumption(delivery: Delivery) -> Consumption:
    try:
        message = delivery.consumer.contract.model_validate_json(delivery.message.body)
    except ValidationError:
        message = None
    letters = tuple(map(_letter, delivery.dead_letters))
    return Consumption(delivery.consumer.name, message, delivery.outcome, delivery.attempts, letters)


def _letter(stored: Stored) -> DeadLetterRecord:
    return DeadLetterRecord(stored.sequence, stored.subject.removeprefix(DEAD), stored.headers, stored.body)
