"""What JetStream and a service do with a message, in words and figures: a list of name and value."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from portal.documents import Json
from portal.system import Channel, Operation, last

Fact = tuple[str, str]


class Role(NamedTuple):
    """What a service does with a message, as a heading, and what that means."""

    title: str
    meaning: str


ROLES = {
    "replies": Role("Replies to", "Requests that it replies to; one process of the service handles each."),
    "consumes": Role("Consumes", "Messages of a stream, under a durable name: none is missed during a restart."),
    "subscribes": Role("Subscribes to", "Messages of a stream while the process runs."),
    "requests": Role("Requests", "Requests that it sends to other services."),
    "publishes": Role("Publishes", "Commands and events that a stream keeps."),
    "dead-letters": Role("Dead-letters", "Messages that it could not handle, kept for an operator."),
}

_RETENTION = {
    "limits": "every message, until its limits are reached",
    "workqueue": "a work queue: a message until it is acknowledged",
    "interest": "a message until everybody who wants it has it",
}
_DISCARD = {"new": "new messages are refused", "old": "the oldest messages are dropped"}
_UNITS = (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1))


def of_stream(stream: Json) -> list[Fact]:
    """Say what a stream keeps, how much of it and for how long."""
    said = [
        ("Subjects", ", ".join(stream.get("subjects", ()))),
        ("Keeps", _RETENTION.get(stream.get("retention", ""), stream.get("retention", ""))),
        ("For at most", duration(stream.get("maxAgeSeconds"))),
        ("At most", size(stream.get("maxBytes"))),
        ("When it is full", _DISCARD.get(stream.get("discard", ""), "")),
        ("One message is at most", size(stream.get("maxMessageBytes"))),
        ("Duplicates by Nats-Msg-Id", f"dropped within {duration(stream.get('duplicateWindowSeconds'))}"),
        ("Storage", stream.get("storage", "")),
    ]
    return [(name, value) for name, value in said if value]


def of_channel(channel: Channel) -> list[Fact]:
    """Say what the parts of a subject that are not fixed stand for."""
    parameters = channel.said.get("parameters", {})
    return [(f"{{{name}}}", said.get("description", "")) for name, said in parameters.items()]


def of_operation(operation: Operation) -> list[Fact]:
    """Say how a service sends or takes a message."""
    facts = operation.facts
    said = [
        ("Delivery", facts.get("delivery", "")),
        ("Order", facts.get("order", "")),
        ("Stream", facts.get("stream", "")),
        ("Queue group", facts.get("queueGroup", "")),
        *_consumer(facts.get("consumer", {})),
        *_retries(facts.get("retries", {})),
        ("What is given up goes to", facts.get("deadLetterSubject", "")),
    ]
    return [(name, value) for name, value in said if value]


def of_servers(document: Json) -> list[tuple[str, list[Fact]]]:
    """Say of each server where it is, and how to log in."""
    schemes = document.get("components", {}).get("securitySchemes", {})
    return [(name, [*_server(server, schemes)]) for name, server in document.get("servers", {}).items()]


def _server(server: Json, schemes: Json) -> Iterator[Fact]:
    yield "Address", f"`{server['protocol']}://{server['host']}`"
    for name, variable in server.get("variables", {}).items():
        yield f"`{{{name}}}`", f"{variable.get('description', '')} By default `{variable.get('default', '')}`."
    if about := server.get("description"):
        yield "Which", about
    for scheme in server.get("security", ()):
        login = schemes.get(last(scheme.get("$ref", "")), {})
        yield "Login", f"`{login.get('type', '')}`. {login.get('description', '')}"


def _consumer(consumer: Json) -> Iterator[Fact]:
    yield "Consumer", "ordered, without a name: it lives as long as its process" if consumer.get("ordered") else ""
    yield "Durable", consumer.get("durable", "")
    yield "Takes", consumer.get("filterSubject", "")
    yield "Acknowledgement", consumer.get("ackPolicy", "")
    yield "Comes again without one", f"after {wait}" if (wait := duration(consumer.get("ackWaitSeconds"))) else ""
    yield "Unacknowledged at once", f"at most {most:,}" if (most := consumer.get("maxAckPending")) else ""
    deliveries = consumer.get("maxDeliver")
    yield "Delivered", "" if deliveries is None else "as often as needed" if deliveries < 0 else f"{deliveries} times"


def _retries(retries: Json) -> Iterator[Fact]:
    if retries:
        pauses = [duration(retries.get(f"{which}PauseSeconds")) for which in ("first", "longest")]
        yield "Attempts", f"{retries.get('attempts')}, with pauses from {pauses[0]} to {pauses[1]}"
        yield "Pauses", retries.get("backOff", "")


def duration(seconds: Any) -> str:
    """Write so many seconds in the largest unit that leaves no rest; nothing for none."""
    if not isinstance(seconds, int | float) or not seconds:
        return ""
    for unit, length in _UNITS:
        count = seconds / length
        if count >= 1 and count == int(count):
            return f"{count:,.0f} {unit}{'' if count == 1 else 's'}"
    return f"{seconds:g} seconds"


def size(count: Any) -> str:
    """Write so many bytes in the largest unit that leaves at most hundredths; nothing for none."""
    if not isinstance(count, int) or not count:
        return ""
    for unit, length in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= length:
            return f"{count / length:.4g} {unit}"
    return f"{count:,} bytes"


def example_of(message: Mapping[str, Any]) -> Json:
    """Return the first example of a message: `headers` and `payload`; nothing where it has none."""
    examples: list[Json] = message.get("examples") or [{}]
    return examples[0]
