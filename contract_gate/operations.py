"""What AsyncAPI documents say, operation by operation, whichever document says it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from contract_gate.changes import Direction
from contract_gate.references import followed, name_of, resolve, tokens

Document = dict[str, Any]


@dataclass(frozen=True)
class Message:
    """One message of a channel; `root` is the document that its references lead into."""

    name: str
    body: Document
    content_type: str
    root: Document

    @property
    def kind(self) -> str:
        """Its tag: request, reply, problem, command, event, dead-letter; "" without one."""
        tags = [tag["name"] for tag in self.body.get("tags", []) if "name" in tag]
        return next((tag for tag in tags if tag in _KINDS), "")


_KINDS = frozenset({"request", "reply", "problem", "command", "event", "dead-letter"})


@dataclass(frozen=True)
class Operation:
    """One thing that a service does with a channel."""

    id: str
    service: str
    body: Document
    channel_id: str
    channel: Document
    root: Document

    @property
    def facts(self) -> Document:
        """What `x-nats` says of it."""
        return dict(self.body.get("x-nats", {}))

    @property
    def role(self) -> str:
        """What the service is here: answers, asks, takes, sends, follows, buries."""
        said = self.facts.get("role")
        if said:
            return str(said)
        replied = "reply" in self.body
        if self.body.get("action") == "receive":
            return "answers" if replied else "takes"
        return "asks" if replied else "sends"

    @property
    def direction(self) -> Direction:
        """Whether the service receives or sends."""
        return Direction.INPUT if self.body.get("action") == "receive" else Direction.OUTPUT

    @property
    def owned(self) -> bool:
        """Whether the contract is this service's: what it answers or takes as a command, and the events it sends."""
        commanded = "command" in {message.kind for message in self.messages}
        retention = self.channel.get("x-nats", {}).get("stream", {}).get("retention")
        commanded = commanded or retention == "workqueue"
        if self.role in {"takes", "follows"}:
            return commanded or not self.facts
        return self.role in {"answers", "buries"} or (self.role == "sends" and not commanded)

    @property
    def address(self) -> str | None:
        """Where its messages go, with the names of parameters left out; None for an inbox."""
        said = self.channel.get("address")
        return None if said is None else shape_of(said)

    @property
    def queue(self) -> str | None:
        """The queue group of its receivers."""
        bound = followed(self.root, self.channel.get("bindings", {})).get("nats", {}).get("queue")
        found: str | None = self.facts.get("queueGroup", bound)
        return found

    @property
    def messages(self) -> list[Message]:
        """What goes through it."""
        return self._messages(self.body, self.channel)

    @property
    def reply(self) -> Document | None:
        """What it says of replies."""
        said = followed(self.root, self.body.get("reply"))
        return said if isinstance(said, dict) else None

    @property
    def replies(self) -> list[Message]:
        """What may come back."""
        reply = self.reply or {}
        return self._messages(reply, followed(self.root, reply.get("channel", {})))

    def _messages(self, body: Document, channel: Document) -> list[Message]:
        named = channel.get("messages", {})
        chosen = [(name_of(one), one) for one in body["messages"]] if "messages" in body else list(named.items())
        usual = self.root.get("defaultContentType", "application/json")
        found = []
        for name, reference in chosen:
            said = followed(self.root, reference)
            found.append(Message(name, said, said.get("contentType", usual), self.root))
        return found


def shape_of(address: str) -> str:
    """Return an address or path without the names of its parameters, which are nothing on the wire."""
    return re.sub(r"\{[^}]*\}", "{}", address)


def operations(documents: Iterable[Document]) -> dict[str, Operation]:
    """Return every operation by its id; raises `UnreadableError` where a reference leads nowhere."""
    found = {}
    for document in documents:
        service = str(document.get("id") or document.get("info", {}).get("title", "")).rpartition(":")[2]
        for name, said in document.get("operations", {}).items():
            body = followed(document, said)
            reference = body["channel"]["$ref"]
            owner, dot, _ = name.partition(".")
            own = owner if dot and body.get("x-nats") else service
            found[name] = Operation(
                name, own, body, tokens(reference)[-1], followed(document, resolve(document, reference)), document
            )
    return found


def met_by(operation: Operation, addresses: set[str | None], operations: Iterable[Operation]) -> tuple[str, ...]:
    """Return the operations of other services at the other end of these addresses."""
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
