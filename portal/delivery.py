"""Delivery facts of streams, channels, operations and servers, in words: lists of name and value."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from kit.asyncapi.reader import DocumentedChannel, DocumentedOperation, Json, last_part

Fact = tuple[str, str]


class Role(NamedTuple):
    """How pages present a role: its heading, the verb in front of a message, and an explanation."""

    title: str
    verb: str
    explanation: str


ROLES = {
    "replies": Role(
        "Replies to",
        "replies to",
        "Requests that this service answers. Each request goes to one process of the queue group.",
    ),
    "consumes": Role(
        "Consumes",
        "consumes",
        "Messages that a stream stores until this service has acknowledged them, also while it is down.",
    ),
    "subscribes": Role(
        "Subscribes to",
        "subscribes to",
        "Messages that every running process receives, from its start on; earlier messages are not delivered.",
    ),
    "requests": Role("Requests", "requests", "Requests that this service sends to other services."),
    "publishes": Role("Publishes", "publishes", "Messages that this service publishes and a stream stores."),
    "dead-letters": Role(
        "Dead-letters",
        "dead-letters",
        "Messages that this service could not process and moved to the dead-letter queue.",
    ),
}

_RETENTION = {
    "limits": "every message, until a limit is reached",
    "workqueue": "a work queue: each message until it is acknowledged",
    "interest": "each message until all its consumers have acknowledged it",
}
_DISCARD = {"new": "new messages are rejected", "old": "the oldest messages are deleted"}
_UNITS = (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1))


def verb(role: str) -> str:
    """Return the words between a service and a message; the role itself if it is not one of `ROLES`."""
    return ROLES[role].verb if role in ROLES else role


def of_stream(stream: Json) -> list[Fact]:
    """Return what a stream stores, with its limits."""
    facts = [
        ("Subjects", ", ".join(stream.get("subjects", ()))),
        ("Stores", _RETENTION.get(stream.get("retention", ""), stream.get("retention", ""))),
        ("Maximum age", duration(stream.get("maxAgeSeconds"))),
        ("Maximum size", size(stream.get("maxBytes"))),
        ("Maximum messages", f"{messages:,}" if (messages := stream.get("maxMessages")) else ""),
        ("Kept as a memory", duration(stream.get("memorySeconds")) if stream.get("memorySeconds") else ""),
        ("When full", _DISCARD.get(stream.get("discard", ""), "")),
        ("Maximum message size", size(stream.get("maxMessageBytes"))),
        ("Deduplication by Nats-Msg-Id", f"within {duration(stream.get('duplicateWindowSeconds'))}"),
        ("Storage", stream.get("storage", "")),
        ("Republished as", _republished(stream.get("republish"))),
    ]
    return [(name, value) for name, value in facts if value]


def _republished(republish: Json | None) -> str:
    if not republish:
        return ""
    return f"{republish['prefix']}<subject>, once stored, with {', '.join(republish['headers']['properties'])}"


def of_channel(channel: DocumentedChannel) -> list[Fact]:
    """Return the meaning of each parameter of a channel's subject."""
    parameters = channel.content.get("parameters", {})
    return [(f"{{{name}}}", parameter.get("description", "")) for name, parameter in parameters.items()]


def of_operation(operation: DocumentedOperation) -> list[Fact]:
    """Return how a service publishes or consumes a message."""
    x_nats = operation.x_nats
    facts = [
        ("Delivery", x_nats.get("delivery", "")),
        ("Order", x_nats.get("order", "")),
        ("Stream", x_nats.get("stream", "")),
        ("Queue group", x_nats.get("queueGroup", "")),
        ("Republished under", ", ".join(x_nats.get("republished", ()))),
        *_consumer(x_nats.get("consumer", {})),
        *_retries(x_nats.get("retries", {})),
        ("Dead letters go to", x_nats.get("deadLetterSubject", "")),
        ("Dead letters of single items go to", x_nats.get("itemDeadLetterSubject", "")),
        ("Purges", x_nats.get("purges", "")),
    ]
    return [(name, value) for name, value in facts if value]


def of_servers(document: Json) -> list[tuple[str, list[Fact]]]:
    """Return the address and login of each server, by server name."""
    schemes = document.get("components", {}).get("securitySchemes", {})
    return [(name, [*_server(server, schemes)]) for name, server in document.get("servers", {}).items()]


def _server(server: Json, schemes: Json) -> Iterator[Fact]:
    yield "Address", f"`{server['protocol']}://{server['host']}`"
    for name, variable in server.get("variables", {}).items():
        yield f"`{{{name}}}`", f"{variable.get('description', '')} Default: `{variable.get('default', '')}`."
    if description := server.get("description"):
        yield "Description", description
    for scheme in server.get("security", ()):
        login = schemes.get(last_part(scheme.get("$ref", "")), {})
        yield "Login", f"`{login.get('type', '')}`. {login.get('description', '')}"


def _consumer(consumer: Json) -> Iterator[Fact]:
    yield "Durable", consumer.get("durable", "")
    yield "Filter subject", consumer.get("filterSubject", "")
    yield "Acknowledgement", consumer.get("ackPolicy", "")
    wait = duration(consumer.get("ackWaitSeconds"))
    yield "Redelivered without acknowledgement", f"after {wait}" if wait else ""
    pending = consumer.get("maxAckPending")
    yield "Unacknowledged messages", f"at most {pending:,}" if pending else ""
    deliveries = consumer.get("maxDeliver")
    yield "Deliveries", "" if deliveries is None else "unlimited" if deliveries < 0 else f"at most {deliveries}"


def _retries(retries: Json) -> Iterator[Fact]:
    if retries:
        first, longest = (duration(retries.get(f"{which}DelaySeconds")) for which in ("first", "max"))
        yield "Attempts", f"{retries.get('attempts')}, with delays from {first} to {longest}"
        yield "Backoff", retries.get("backOff", "")


def duration(seconds: Any) -> str:
    """Return seconds in the largest unit that leaves no remainder; empty for none."""
    if not isinstance(seconds, int | float) or not seconds:
        return ""
    for unit, length in _UNITS:
        count = seconds / length
        if count >= 1 and count == int(count):
            return f"{count:,.0f} {unit}{'' if count == 1 else 's'}"
    return f"{seconds:g} seconds"


def size(count: Any) -> str:
    """Return bytes in the largest binary unit that is not larger, with four significant digits; empty for none."""
    if not isinstance(count, int) or not count:
        return ""
    for unit, length in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= length:
            return f"{count / length:.4g} {unit}"
    return f"{count:,} bytes"


def example_of(message: Mapping[str, Any]) -> Json:
    """Return the first example of a message, with `headers` and `payload`; empty if it has none."""
    examples: list[Json] = message.get("examples") or [{}]
    return examples[0]
