"""The operations of AsyncAPI documents, with channels, messages and replies resolved."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from contract_gate.changes import Direction
from contract_gate.references import followed, last_token, malformed, resolve, tokens

Document = dict[str, Any]

SCHEMA_HEADER = "ce-dataschema"
"""Header of CloudEvents with the URI of an event's schema."""


@dataclass(frozen=True)
class Message:
    """A message of a channel; `root` is the document that its references resolve in."""

    name: str
    body: Document
    content_type: str
    root: Document

    @property
    def kind(self) -> str:
        """The kind that its tag names: request, reply, problem, command, event or dead-letter; "" without one."""
        tags = [tag["name"] for tag in self.body.get("tags", []) if "name" in tag]
        return next((tag for tag in tags if tag in _KINDS), "")

    @property
    def schema_version(self) -> str | None:
        """The URI of the schema of an event: the constant of its header `ce-dataschema`. None without one."""
        headers = followed(self.root, self.body.get("headers")) if self.kind == "event" else None
        properties = headers.get("properties") if isinstance(headers, dict) else None
        header = followed(self.root, properties.get(SCHEMA_HEADER)) if isinstance(properties, dict) else None
        value = header.get("const") if isinstance(header, dict) else None
        return value if isinstance(value, str) else None


_KINDS = frozenset({"request", "reply", "problem", "command", "event", "dead-letter"})


@dataclass(frozen=True)
class Operation:
    """An operation of a service on a channel."""

    id: str
    service: str
    body: Document
    channel_id: str
    channel: Document
    root: Document

    @cached_property
    def facts(self) -> Document:
        """Its `x-nats` extension."""
        return dict(self.body.get("x-nats", {}))

    @cached_property
    def role(self) -> str:
        """Role of the service: replies, requests, consumes, publishes, subscribes or dead-letters."""
        if role := self.facts.get("role"):
            return str(role)
        has_reply = "reply" in self.body
        if self.body.get("action") == "receive":
            return "replies" if has_reply else "consumes"
        return "requests" if has_reply else "publishes"

    @cached_property
    def direction(self) -> Direction:
        """Direction of its messages, as seen by the service."""
        return Direction.INPUT if self.body.get("action") == "receive" else Direction.OUTPUT

    @cached_property
    def owned(self) -> bool:
        """Whether the service owns the contract: requests it replies to, commands it consumes, events it publishes."""
        command = "command" in {message.kind for message in self.messages}
        retention = self.channel.get("x-nats", {}).get("stream", {}).get("retention")
        command = command or retention == "workqueue"
        if self.role in {"consumes", "subscribes"}:
            return command or not self.facts
        return self.role in {"replies", "dead-letters"} or (self.role == "publishes" and not command)

    @cached_property
    def address(self) -> str | None:
        """The channel's address without parameter names; None for an inbox."""
        address = self.channel.get("address")
        return None if address is None else without_parameter_names(address)

    @cached_property
    def queue(self) -> str | None:
        """The queue group of its subscribers."""
        bound = followed(self.root, self.channel.get("bindings", {})).get("nats", {}).get("queue")
        group: str | None = self.facts.get("queueGroup", bound)
        return group

    @cached_property
    def messages(self) -> list[Message]:
        """Its messages."""
        return self._messages(self.body, self.channel)

    @cached_property
    def reply(self) -> Document | None:
        """Its reply object, resolved; None without one."""
        reply = followed(self.root, self.body.get("reply"))
        return reply if isinstance(reply, dict) else None

    @cached_property
    def replies(self) -> list[Message]:
        """The messages that may be returned."""
        reply = self.reply or {}
        return self._messages(reply, followed(self.root, reply.get("channel", {})))

    def _messages(self, body: Document, channel: Document) -> list[Message]:
        named = channel.get("messages", {})
        chosen = [(last_token(one), one) for one in body["messages"]] if "messages" in body else list(named.items())
        default = self.root.get("defaultContentType", "application/json")
        messages = []
        for name, reference in chosen:
            message = followed(self.root, reference)
            messages.append(Message(name, message, message.get("contentType", default), self.root))
        return messages


def without_parameter_names(address: str) -> str:
    """Return an address or path with empty braces for its parameters, whose names are not on the wire."""
    return re.sub(r"\{[^}]*\}", "{}", address)


def operations(documents: Iterable[Document]) -> dict[str, Operation]:
    """Return all operations by id. Raises `UnreadableError` if one is malformed or a reference cannot be resolved."""
    by_id = {}
    for document in documents:
        service = str(document.get("id") or document.get("info", {}).get("title", "")).rpartition(":")[2]
        for name, operation in document.get("operations", {}).items():
            with malformed(f"The operation {name}"):
                body = followed(document, operation)
                reference = body["channel"]["$ref"]
                prefix, dot, _ = name.partition(".")
                owner = prefix if dot and body.get("x-nats") else service
                channel = followed(document, resolve(document, reference))
                by_id[name] = Operation(name, owner, body, tokens(reference)[-1], channel, document)
    return by_id


def counterparts(operation: Operation, addresses: set[str | None], operations: Iterable[Operation]) -> tuple[str, ...]:
    """Return the ids of other services' operations at the other end of these addresses, sorted."""
    return tuple(
        sorted(
            {
                other.id
                for other in operations
                if other.service != operation.service
                and other.direction is not operation.direction
                and other.address is not None
                and other.address in addresses
            }
        )
    )
