"""The extension `x-nats`: stream, consumer, delivery guarantee and order of a message."""

from typing import Any

from contracts.base import Command
from contracts.streams import DEAD, Stream
from kit.asyncapi.handlers import Handled
from kit.runtime.settings import ConsumerSettings

_LOST = "At most once: a request or its reply can get lost, and then nobody knows whether it was carried out."


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
        "maxMessageBytes": stream.max_message_bytes,
        "storage": "file",
    }


def of_replies(queue: str) -> dict[str, Any]:
    """Say how a request comes to one of a service's processes."""
    return {
        "queueGroup": queue,
        "delivery": f"{_LOST} One process of the group answers, always: a refusal is a reply too.",
        "order": "None.",
    }


def of_requests() -> dict[str, Any]:
    """Say how a request is made."""
    return {
        "delivery": f"{_LOST} Where no process answers, NATS says so at once (503 no responders).",
        "order": "None.",
    }


def of_consumes(handled: Handled, stream: Stream) -> dict[str, Any]:
    """Say how a durable message comes, and comes again."""
    message, config, defaults = handled.message, handled.subscriber.config, ConsumerSettings.model_fields
    return {
        "stream": stream.name,
        "consumer": {
            "durable": handled.durable,
            "filterSubject": handled.subscriber.subject.broker_address,
            "ackPolicy": "explicit",
            "ackWaitSeconds": config.ack_wait,
            "maxAckPending": config.max_ack_pending,
            "maxDeliver": config.max_deliver,
        },
        "retries": {
            "attempts": defaults["delivery_attempts"].default,
            "firstPauseSeconds": defaults["delivery_first_delay"].default,
            "longestPauseSeconds": defaults["delivery_max_delay"].default,
            "backOff": "Each pause is twice the one before, less up to a half by chance. What would only fail again is "
            "not tried again; while a server is away it is tried for as long as that lasts.",
        },
        "deadLetterSubject": f"{DEAD}{message.subject}",
        "delivery": "At least once, until it is acknowledged, after the commit; a second time changes nothing.",
        "order": "None between messages: many are handled at once."
        if issubclass(message, Command)
        else "None: what is older than what is known of its user or payment (`ce-aggregateversion`) is ignored.",
    }


def of_subscribes(stream: Stream) -> dict[str, Any]:
    """Say how a process hears all that comes into a stream."""
    return {
        "stream": stream.name,
        "consumer": {"ordered": True, "ackPolicy": "none"},
        "delivery": "To every process from its start on; after a lost connection from where it was.",
        "order": "That of the stream.",
    }


def of_publishes(stream: Stream, message: type[Any]) -> dict[str, Any]:
    """Say what a sender promises."""
    if issubclass(message, Command):
        return {
            "stream": stream.name,
            "delivery": "Once it is acknowledged it is on disk, and stays until it is carried out.",
            "order": "None: each has an id, and a subject, of its own.",
        }
    return {
        "stream": stream.name,
        "delivery": "At least once, always with the same `ce-id`; in the stream once within its duplicate window. "
        "It is sent if, and only if, what it tells of was committed.",
        "order": "The events of one user or payment come in the order of their `ce-aggregateversion`.",
    }


def of_dead_letters(stream: Stream) -> dict[str, Any]:
    """Say what becomes of what cannot be handled."""
    return {
        "stream": stream.name,
        "delivery": "Once for each consumer that gave the message up.",
        "order": "That in which they were given up.",
    }
