"""What the document of the whole system says, by message: its channels, and who does what with it."""

from collections import defaultdict
from collections.abc import Mapping
from functools import cached_property
from typing import Any, NamedTuple

from portal.documents import Json

FROM = ("requests", "publishes", "dead-letters")
TO = ("replies", "consumes", "subscribes")
KINDS = ("command", "request", "reply", "problem", "event", "dead-letter")


class Operation(NamedTuple):
    """One service does one thing with one message; `facts` are its `x-nats`."""

    service: str
    role: str
    message: str
    channel: str
    said: Json
    facts: Json
    replies: tuple[str, ...]


class Channel(NamedTuple):
    """Where messages travel: `address` is the subject, empty for that of a reply; `stream` what keeps them, if any."""

    key: str
    address: str
    messages: tuple[str, ...]
    stream: Json
    said: Json


class System:
    """Looks things up in a document of the whole system; what is not in it is empty."""

    def __init__(self, content: Json) -> None:
        self._content = content
        components = content.get("components", {})
        self.messages: Mapping[str, Json] = components.get("messages", {})
        self.schemas: Mapping[str, Json] = components.get("schemas", {})

    @cached_property
    def channels(self) -> Mapping[str, Channel]:
        """Every channel by its key."""
        return {
            key: Channel(
                key,
                said.get("address") or "",
                tuple(last(message.get("$ref", name)) for name, message in said.get("messages", {}).items()),
                said.get("x-nats", {}).get("stream", {}),
                said,
            )
            for key, said in self._content.get("channels", {}).items()
        }

    @cached_property
    def operations(self) -> list[Operation]:
        """Every operation, one entry for each message of it."""
        found: list[Operation] = []
        for key, said in self._content.get("operations", {}).items():
            service, _, rest = key.partition(".")
            channel = last(said.get("channel", {}).get("$ref", ""))
            facts = said.get("x-nats", {})
            role = facts.get("role") or rest.partition(".")[0]
            replies = tuple(last(reply["$ref"]) for reply in said.get("reply", {}).get("messages", ()))
            names = [last(message["$ref"]) for message in said.get("messages", ())]
            found += [Operation(service, role, name, channel, said, facts, replies) for name in names]
        return found

    @cached_property
    def by_message(self) -> Mapping[str, list[Operation]]:
        """The operations on each message."""
        found: dict[str, list[Operation]] = defaultdict(list)
        for operation in self.operations:
            found[operation.message].append(operation)
        return found

    def by_service(self) -> list[tuple[str, list[tuple[str, list[Operation]]]]]:
        """Return what each service does, by role: first what comes to it, then what it says."""
        found: dict[str, dict[str, list[Operation]]] = defaultdict(lambda: defaultdict(list))
        for operation in self.operations:
            found[operation.service][operation.role].append(operation)
        return [
            (service, [(role, roles[role]) for role in TO + FROM if role in roles]) for service, roles in found.items()
        ]

    @cached_property
    def streams(self) -> Mapping[str, list[Channel]]:
        """The channels that each stream keeps, by its name."""
        found: dict[str, list[Channel]] = defaultdict(list)
        for channel in self.channels.values():
            if channel.stream:
                found[channel.stream["name"]].append(channel)
        return dict(sorted(found.items()))

    def channels_of(self, message: str) -> list[Channel]:
        """Return the subjects that the message travels under; none for one that only comes as a reply."""
        return [found for found in self.channels.values() if message in found.messages and found.address]

    def kind_of(self, message: str) -> str:
        """Return what kind of message it is: one of `KINDS`, in a document of ours."""
        tags = self.messages.get(message, {}).get("tags") or [{}]
        return str(tags[0].get("name", "message"))

    def who(self, message: str, roles: tuple[str, ...]) -> list[Operation]:
        """Return the operations on the message in one of the roles."""
        return [operation for operation in self.by_message.get(message, ()) if operation.role in roles]

    def requests_for(self, message: str) -> list[str]:
        """Return the requests that the message may be the reply to."""
        found = {operation.message for operation in self.operations if message in operation.replies}
        return sorted(found)

    def schema(self, node: Any) -> Json:
        """Follow a schema's reference, if it is one."""
        reference = node.get("$ref", "") if isinstance(node, Mapping) else ""
        return self.schemas.get(last(reference), {}) if reference else node


def last(reference: str) -> str:
    """Return what a JSON Pointer's last part names."""
    return reference.rpartition("/")[2].replace("~1", "/").replace("~0", "~")
