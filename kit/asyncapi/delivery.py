"""The extension `x-nats`: stream, consumer, delivery guarantee and order of a message."""

from typing import Any

from contracts.base import CommandBatch, DurableCommand, State
from contracts.headers import StoredHeaders
from contracts.streams import DEAD, STORED, Stream
from kit.asyncapi.handlers import Handled
from kit.asyncapi.reader import wildcard_subject
from kit.runtime.settings import ConsumerSettings

_LOST = "At most once: a request or its reply can be lost; then it is unknown whether it was processed."

_STORED_HEADERS = StoredHeaders.model_json_schema(mode="serialization")

_PURGES = "What is acknowledged, oldest first: when its time as a memory is over, or half of a limit is used."


def of_stream(stream: Stream) -> dict[str, Any]:
    """Return the limits of a stream; times are in seconds, sizes in bytes, null means unlimited."""
    return {
        "name": stream.name,
        "subjects": list(stream.subjects),
        "retention": stream.retention,
        "discard": stream.discard,
        "duplicateWindowSeconds": int(stream.duplicate_window.total_seconds()),
        "maxAgeSeconds": int(stream.max_age.total_seconds()) if stream.max_age else None,
        "maxBytes": stream.max_bytes,
        "maxMessages": stream.max_messages,
        "maxMessageBytes": stream.max_message_bytes,
        "storage": "file",
        "republish": {"prefix": STORED, "headers": _STORED_HEADERS} if stream.republish else None,
        **({"compacted": True} if stream.compacted else {}),
        **({"memorySeconds": int(stream.memory.total_seconds())} if stream.memory else {}),
    }


def of_replies(queue: str) -> dict[str, Any]:
    """Describe how a request reaches one process of a service."""
    return {
        "queueGroup": queue,
        "delivery": f"{_LOST} One process of the group always replies; a refusal is a reply too.",
        "order": "None.",
    }


def of_requests() -> dict[str, Any]:
    """Describe how a request is sent."""
    return {
        "delivery": f"{_LOST} If no process subscribes, NATS returns 503 (no responders) immediately.",
        "order": "None.",
    }


def of_consumes(handled: Handled, stream: Stream) -> dict[str, Any]:
    """Describe delivery and redelivery of a durable message."""
    message, config, defaults = handled.message, handled.subscriber.config, ConsumerSettings.model_fields
    return {
        "stream": stream.name,
        "consumer": {
            "durable": handled.durable,
            "filterSubject": wildcard_subject(message.subject),
            "ackPolicy": "explicit",
            "ackWaitSeconds": config.ack_wait,
            "maxAckPending": config.max_ack_pending,
            "maxDeliver": config.max_deliver,
        },
        "retries": {
            "attempts": defaults["delivery_attempts"].default,
            "firstDelaySeconds": defaults["delivery_first_delay"].default,
            "maxDelaySeconds": defaults["delivery_max_delay"].default,
            "backOff": "Exponential, with up to 50 % jitter. Permanent failures are not retried; retries "
            "during an outage of a server do not count as attempts.",
        },
        "deadLetterSubject": f"{DEAD}{message.subject}",
        **_of_items(message),
        **({"purges": _PURGES} if stream.memory else {}),
        "delivery": "At least once, until it is acknowledged after the commit; a repeated delivery has no effect.",
        "order": "None between messages: they are processed concurrently."
        if issubclass(message, DurableCommand)
        else "None: an event with an older `ce-aggregateversion` than the last one is ignored.",
    }


def _of_items(message: type[Any]) -> dict[str, str]:
    """Return where the commands of a batch are dead-lettered, each alone; nothing for other messages."""
    if not issubclass(message, CommandBatch):
        return {}
    return {"itemDeadLetterSubject": f"{DEAD}{message.command_type().subject}"}


def of_subscribes(stream: Stream) -> dict[str, Any]:
    """Describe how a process follows a stream."""
    return {
        "stream": stream.name,
        "republished": [f"{STORED}{subject}" for subject in stream.subjects],
        "delivery": "To every process, from what the stream republishes once it is stored; a gap in the sequence is "
        "filled by direct gets. No consumer on the server.",
        "order": "That of the stream.",
    }


def of_publishes(stream: Stream, message: type[Any]) -> dict[str, Any]:
    """Describe the guarantees of a publisher."""
    if issubclass(message, DurableCommand):
        return {
            "stream": stream.name,
            "delivery": "On disk once it is acknowledged, and stored until it is processed"
            f"{', then longer as a memory' if stream.memory else ''}.",
            "order": "None: each command has a separate id and subject.",
        }
    if issubclass(message, State):
        return {
            "stream": stream.name,
            "delivery": "On disk once it is acknowledged, until a newer one of the same subject replaces it"
            f"{' or its time is over' if stream.max_age else ''}.",
            "order": "One that is older than the stored one is rejected.",
        }
    return {
        "stream": stream.name,
        "delivery": "At least once, always with the same `ce-id`; stored once within the duplicate window. "
        "Published if and only if its transaction was committed.",
        "order": "Events of one user or payment are in the order of `ce-aggregateversion`.",
    }


def of_dead_letters(stream: Stream) -> dict[str, Any]:
    """Describe the dead-letter queue."""
    return {
        "stream": stream.name,
        "delivery": "Once for each consumer that failed.",
        "order": "The order of the failures.",
    }
