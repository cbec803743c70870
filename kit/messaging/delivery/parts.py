"""The parts of a stored message: the message itself, or the commands of a batch. Each is handled and fails alone."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple
from uuid import UUID

from nats.aio.msg import Msg
from pydantic import ValidationError

from contracts.base import BatchItem, Command, CommandBatch, DurableCommand, Event, InvalidItem
from contracts.shards import shard_in
from kit.inbox import InboxKey
from kit.messaging.batches import Received
from kit.messaging.delivery.inbox_key import inbox_key
from kit.runtime.tracing import TRACEPARENT, Trace


class Invalid(NamedTuple):
    """A part that does not fit its contract."""

    error: Exception
    subject: str
    body: bytes
    trace: Trace


class Part(NamedTuple):
    """One unit of handling: `content` is what the handler gets, or why it cannot get it."""

    name: str
    """Id of a command; empty for an event and for a message that cannot be read."""
    content: Received[Any] | Invalid


class Letter(NamedTuple):
    """A part as a dead letter."""

    subject: str
    body: bytes
    headers: Mapping[str, str]


def read(contract: type[DurableCommand | Event], message: Msg) -> list[Part]:
    """Return the parts of a stored message of this contract; a message that cannot be read is one invalid part."""
    trace = Trace.of(message.headers)
    try:
        if issubclass(contract, CommandBatch):
            consumer = inbox_key(message).consumer
            return [
                _invalid(contract, place, item, message) if isinstance(item, InvalidItem) else _of_item(item, consumer)
                for place, item in enumerate(contract.read_each(message.data))
            ]
        content = contract.model_validate_json(message.data)
    except ValidationError as error:
        return [Part("", Invalid(error, message.subject, message.data, trace))]
    name = str(content.id) if isinstance(content, Command) else ""
    return [Part(name, Received(content, trace, inbox_key(message)))]


def letter_of(part: Part, message: Msg) -> Letter:
    """Return the dead letter of a part: the message as it was published, or one command as a single message."""
    headers = {name: value for name, value in (message.headers or {}).items() if not name.startswith("Nats-")}
    if isinstance(part.content, Invalid):
        invalid = part.content
        return Letter(invalid.subject, invalid.body, headers | invalid.trace.headers())
    command, trace = part.content.message, part.content.trace
    if (
        isinstance(command, Command)
        and (address := shard_in(message.subject).subject(command.address)) != message.subject
    ):
        return Letter(address, command.model_dump_json().encode(), headers | trace.headers())
    return Letter(message.subject, message.data, headers)


def _of_item(item: BatchItem[Any], consumer: str) -> Part:
    name = str(item.command.id)
    return Part(name, Received(item.command, Trace(item.request_id, item.traceparent), InboxKey(consumer, name)))


def _invalid(contract: type[CommandBatch[Any]], place: int, item: InvalidItem, message: Msg) -> Part:
    """Return an invalid command as a single message if it has an id, else as a part of its batch."""
    fields = item.content if isinstance(item.content, Mapping) else {}
    command = fields.get(contract.item_type().model_fields["command"].alias or "command", item.content)
    trace = Trace(*(value if isinstance(value := fields.get(name), str) else "" for name in ("requestId", TRACEPARENT)))
    body = json.dumps(command).encode()
    try:
        command_id = UUID(command["id"])
    except (TypeError, KeyError, ValueError, AttributeError):
        return Part(str(place), Invalid(item.error, message.subject, body, trace))
    subject = shard_in(message.subject).subject(contract.command_type().address_of(command_id))
    return Part(str(command_id), Invalid(item.error, subject, body, trace))
