"""The one reader of AsyncAPI documents: for the portal, the NATS permissions and the tests."""

import re
from collections import defaultdict
from collections.abc import Mapping
from functools import cached_property
from typing import Any, NamedTuple

Json = Mapping[str, Any]

PUBLISHER_ROLES = ("requests", "publishes", "dead-letters")
CONSUMER_ROLES = ("replies", "consumes", "subscribes")
KINDS = ("command", "request", "reply", "problem", "event", "dead-letter")

_PARAMETER = re.compile(r"\{[^{}]*\}")


class DocumentedOperation(NamedTuple):
    """What one service does with one message; `x_nats` is the operation's extension, `content` its whole JSON."""

    key: str
    service: str
    role: str
    message: str
    channel: str
    content: Json
    x_nats: Json
    replies: tuple[str, ...]


class DocumentedChannel(NamedTuple):
    """A channel; `address` is its subject, empty for replies; `stream` describes the stream that stores it, if any."""

    key: str
    address: str
    messages: tuple[str, ...]
    stream: Json
    content: Json


class DocumentReader:
    """Looks up messages, channels, operations and streams in one AsyncAPI document; missing parts are empty."""

    def __init__(self, document: Json) -> None:
        self._document = document
        components = document.get("components", {})
        self.messages: Mapping[str, Json] = components.get("messages", {})
        self.schemas: Mapping[str, Json] = components.get("schemas", {})

    @cached_property
    def channels(self) -> Mapping[str, DocumentedChannel]:
        """All channels by key."""
        return {
            key: DocumentedChannel(
                key,
                channel.get("address") or "",
                tuple(last_part(message.get("$ref", name)) for name, message in channel.get("messages", {}).items()),
                channel.get("x-nats", {}).get("stream", {}),
                channel,
            )
            for key, channel in self._document.get("channels", {}).items()
        }

    @cached_property
    def operations(self) -> list[DocumentedOperation]:
        """All operations, one entry per message of each."""
        operations: list[DocumentedOperation] = []
        for key, operation in self._document.get("operations", {}).items():
            service, _, rest = key.partition(".")
            channel = last_part(operation.get("channel", {}).get("$ref", ""))
            x_nats = operation.get("x-nats", {})
            role = x_nats.get("role") or rest.partition(".")[0]
            replies = tuple(last_part(reply["$ref"]) for reply in operation.get("reply", {}).get("messages", ()))
            operations += [
                DocumentedOperation(
                    key=key,
                    service=service,
                    role=role,
                    message=last_part(message["$ref"]),
                    channel=channel,
                    content=operation,
                    x_nats=x_nats,
                    replies=replies,
                )
                for message in operation.get("messages", ())
            ]
        return operations

    @cached_property
    def by_message(self) -> Mapping[str, list[DocumentedOperation]]:
        """The operations on each message, by message name."""
        operations: dict[str, list[DocumentedOperation]] = defaultdict(list)
        for operation in self.operations:
            operations[operation.message].append(operation)
        return operations

    def by_service(self) -> list[tuple[str, list[tuple[str, list[DocumentedOperation]]]]]:
        """Return each service's operations, grouped by role: consumer roles first."""
        services: dict[str, dict[str, list[DocumentedOperation]]] = defaultdict(lambda: defaultdict(list))
        for operation in self.operations:
            services[operation.service][operation.role].append(operation)
        return [
            (service, [(role, roles[role]) for role in CONSUMER_ROLES + PUBLISHER_ROLES if role in roles])
            for service, roles in services.items()
        ]

    @cached_property
    def streams(self) -> Mapping[str, list[DocumentedChannel]]:
        """The channels that each stream stores, by stream name, sorted."""
        streams: dict[str, list[DocumentedChannel]] = defaultdict(list)
        for channel in self.channels.values():
            if channel.stream:
                streams[channel.stream["name"]].append(channel)
        return dict(sorted(streams.items()))

    def channels_of(self, message: str) -> list[DocumentedChannel]:
        """Return the channels with a subject that carry the message; empty for a message that is only a reply."""
        return [channel for channel in self.channels.values() if message in channel.messages and channel.address]

    def kind_of(self, message: str) -> str:
        """Return the message's kind, its first tag: one of `KINDS` in our documents, `message` without a tag."""
        tags = self.messages.get(message, {}).get("tags") or [{}]
        return str(tags[0].get("name", "message"))

    def publishers(self, message: str) -> list[DocumentedOperation]:
        """Return the operations that send the message."""
        return [operation for operation in self.by_message.get(message, ()) if operation.role in PUBLISHER_ROLES]

    def consumers(self, message: str) -> list[DocumentedOperation]:
        """Return the operations that receive the message."""
        return [operation for operation in self.by_message.get(message, ()) if operation.role in CONSUMER_ROLES]

    def requests_for(self, reply: str) -> list[str]:
        """Return the names of the requests that the message can be a reply to, sorted."""
        return sorted({operation.message for operation in self.operations if reply in operation.replies})

    def schema(self, node: Any) -> Json:
        """Return the schema that `node` refers to, or `node` itself if it has no `$ref`."""
        reference = node.get("$ref", "") if isinstance(node, Mapping) else ""
        return self.schemas.get(last_part(reference), {}) if reference else node


def last_part(pointer: str) -> str:
    """Return the last token of a JSON Pointer, unescaped (RFC 6901)."""
    return pointer.rpartition("/")[2].replace("~1", "/").replace("~0", "~")


def wildcard_subject(address: str) -> str:
    """Return the NATS subject that matches every value of the address's parameters."""
    return _PARAMETER.sub("*", address)
