"""One service's AsyncAPI 3.0 document, from its subscribers and its declared publications and requests."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from faststream.asgi import AsgiFastStream
from faststream.specification import AsyncAPI, License

from contracts.base import DurableCommand, Event, Request, State
from contracts.streams import Stream, owned_by
from kit.asyncapi.channels import channels_of
from kit.asyncapi.handlers import handled_by
from kit.asyncapi.messages import components_of
from kit.asyncapi.operations import Operation, operations_by_id, published, received, requested
from kit.asyncapi.reader import wildcard_subject
from kit.asyncapi.writing import prose
from kit.errors import Refusal

VERSION = "0.1.0"
"""Version of the project; a constant, since a service's image does not contain the package's metadata."""

_LICENSE = License(name="Apache-2.0", url="https://www.apache.org/licenses/LICENSE-2.0")
_SERVERS = {
    "development": {
        "host": "127.0.0.1:4222",
        "protocol": "nats",
        "description": "The default of `NATS_URL`; `mkstore up` picks a free port and prints the address.",
        "security": [{"$ref": "#/components/securitySchemes/login"}],
    },
    "production": {
        "host": "{host}:4222",
        "protocol": "nats",
        "description": "A cluster of three servers, or one server that syncs each message before it acknowledges it.",
        "variables": {"host": {"description": "Host name of any server of the cluster.", "default": "nats"}},
        "security": [{"$ref": "#/components/securitySchemes/login"}],
    },
}
_SECURITY = {
    "login": {
        "type": "userPassword",
        "description": "Each service has a separate NATS login, limited to the operations of its document.",
    }
}


_ROLES = {
    "replies": "Replies to",
    "consumes": "Consumes",
    "subscribes": "Subscribes to",
    "publishes": "Publishes",
    "requests": "Requests",
}


class Document:
    """A finished document, with the methods that FastStream calls."""

    def __init__(self, content: Mapping[str, Any]) -> None:
        self._content = content

    @property
    def title(self) -> str:
        """The document's title."""
        return str(self._content["info"]["title"])

    def to_jsonable(self) -> dict[str, Any]:
        """Return the document as JSON values."""
        content: dict[str, Any] = json.loads(self.to_json())
        return content

    def to_json(self) -> str:
        """Return the document as JSON, as in the committed file."""
        return json.dumps(self._content, indent=2, ensure_ascii=False) + "\n"

    def to_yaml(self) -> str:
        """Return the document as YAML."""
        import yaml  # noqa: PLC0415 - only the documentation commands need PyYAML; a service's image does not contain it

        dumper = yaml.CSafeDumper  # libyaml's, four times as fast
        return str(yaml.dump(self.to_jsonable(), Dumper=dumper, sort_keys=False, allow_unicode=True, width=120))


class ServiceSpecification(AsyncAPI):
    """The specification of one service: FastStream's, extended by what FastStream does not know or leaves out.

    An operation is named `<service>.<role>.<Message>` and a channel by its subject; names of functions do not matter.
    What the service receives is read from its subscribers; what it `publishes` and `requests` is declared here, and
    NATS permissions allow nothing else. The document contains replies, headers, examples and JetStream settings of
    each message, and neither HTTP routes nor values from the environment.
    """

    def __init__(
        self,
        service: str,
        description: str | None,
        *,
        publishes: Sequence[type[DurableCommand | Event | State]] = (),
        requests: Sequence[type[Request[Any]]] = (),
        refusals: Sequence[type[Refusal]] = (),
    ) -> None:
        super().__init__(
            title=f"mkstore {service}",
            version=VERSION,
            description=description,
            identifier=f"urn:mkstore:{service}",
            license=_LICENSE,
        )
        self._service = service
        self.database = ""
        """Default name of the database that the service owns."""
        self._publishes = publishes
        self._requests = requests
        self.refusals = refusals

    def to_specification(self) -> Document:
        """Build the document, which is the same in every process, without a connection.

        Raises `ValueError` if two operations, channels or schemas would have one name, and `TypeError` if a subscriber
        handles something that is not a message of the contracts.
        """
        operations = self._operations()
        return Document(
            {
                "asyncapi": "3.0.0",
                "id": self.identifier,
                "info": {
                    "title": self.title,
                    "version": self.version,
                    "description": f"{prose(self.description)}\n\n{self._owned()}{_subjects(operations)}".strip(),
                    "license": {"name": _LICENSE.name, "url": str(_LICENSE.url)},
                },
                "defaultContentType": "application/json",
                "servers": _SERVERS,
                "channels": channels_of(operations),
                "operations": operations_by_id(operations),
                "components": components_of(operations, self.refusals) | {"securitySchemes": _SECURITY},
            }
        )

    def stored_subjects(self) -> dict[Stream, list[str]]:
        """Return the subjects, with NATS wildcards, of what the service publishes or consumes, by stream that it owns.

        Raises `TypeError` as `to_specification` does.
        """
        operations = [operation for operation in self._operations() if operation.role in {"publishes", "consumes"}]
        return {
            stream: [wildcard_subject(each.message.subject) for each in operations if each.stream == stream]
            for stream in owned_by(self._service)
        }

    def _operations(self) -> list[Operation]:
        return [
            *(operation for broker in self.brokers for operation in received(self._service, handled_by(broker))),
            *published(self._service, self._publishes),
            *requested(self._service, self._requests),
        ]

    def _owned(self) -> str:
        """Return a sentence with the database and the streams that belong to the service, or nothing."""
        database = [f"database `{self.database}`"] if self.database else []
        owned = [*database, *(f"stream `{stream.name}`" for stream in owned_by(self._service))]
        return f"Owns: {', '.join(owned)}. " if owned else ""


def _subjects(operations: Iterable[Operation]) -> str:
    """Return a sentence for each role, with the subjects of its messages."""
    subjects: dict[str, list[str]] = {}
    for operation in operations:
        subjects.setdefault(operation.role, []).append(f"`{operation.message.subject}`")
    return " ".join(
        f"{phrase}: {', '.join(sorted(subjects[role]))}." for role, phrase in _ROLES.items() if role in subjects
    )


def document(app: AsgiFastStream) -> dict[str, Any]:
    """Return the AsyncAPI document of `app` as JSON values."""
    content: dict[str, Any] = app.schema.to_specification().to_jsonable()
    return content
