"""One service's AsyncAPI 3.0 document, built from its subscribers and from what it says that it sends and asks."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from faststream.asgi import AsgiFastStream
from faststream.specification import AsyncAPI, License

from contracts.base import Command, Event, Request
from contracts.streams import owned_by
from kit.asyncapi.channels import channels_of
from kit.asyncapi.handlers import handled_by
from kit.asyncapi.messages import components_of
from kit.asyncapi.operations import Operation, as_written, published, received, requested
from kit.asyncapi.writing import prose
from kit.errors import Refusal

VERSION = "0.1.0"
"""The version of everything here; written out, because a service that stands alone has no package to ask."""

_LICENSE = License(name="Apache-2.0", url="https://www.apache.org/licenses/LICENSE-2.0")
_SERVERS = {
    "development": {
        "host": "127.0.0.1:4222",
        "protocol": "nats",
        "description": "Where `NATS_URL` is by default; `mkstore up` picks a free port and prints the address.",
        "security": [{"$ref": "#/components/securitySchemes/login"}],
    },
    "production": {
        "host": "{host}:4222",
        "protocol": "nats",
        "description": "Three servers in a cluster, or one that syncs before it acknowledges; any of them will do.",
        "variables": {"host": {"description": "One of NATS's servers.", "default": "nats"}},
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
    """A finished document, in the forms in which FastStream asks for it."""

    def __init__(self, content: Mapping[str, Any]) -> None:
        self._content = content

    @property
    def title(self) -> str:
        """What it is called."""
        return str(self._content["info"]["title"])

    def to_jsonable(self) -> dict[str, Any]:
        """Return it as plain values."""
        content: dict[str, Any] = json.loads(self.to_json())
        return content

    def to_json(self) -> str:
        """Return it as the committed file has it."""
        return json.dumps(self._content, indent=2, ensure_ascii=False) + "\n"

    def to_yaml(self) -> str:
        """Return it as YAML."""
        import yaml  # noqa: PLC0415 - `faststream docs gen --yaml` brings it, and a service that only runs needs none

        return str(yaml.safe_dump(self.to_jsonable(), sort_keys=False, allow_unicode=True, width=120))


class ServiceSpecification(AsyncAPI):
    """What FastStream calls an app's specification, with what FastStream cannot know or leaves out.

    Operations are called `<service>.<role>.<Message>` and channels as their subjects, however functions are called.
    What the service receives is read from its subscribers; what it `publishes` and `requests` is declared here, and
    NATS permissions allow nothing else. Replies, headers, examples and the JetStream settings of a message are part of
    the document. HTTP routes and values from the environment are not.
    """

    def __init__(
        self,
        service: str,
        description: str | None,
        *,
        publishes: Sequence[type[Command | Event]] = (),
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
        self._refusals = refusals

    def to_specification(self) -> Document:
        """Build the document, the same in every process; nothing is connected.

        Raises `ValueError` where two operations, channels or schemas would have one name, and `TypeError` where a
        subscriber takes no message of the contracts.
        """
        operations = [
            *(operation for broker in self.brokers for operation in received(self._service, handled_by(broker))),
            *published(self._service, self._publishes),
            *requested(self._service, self._requests),
        ]
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
                "operations": as_written(operations),
                "components": components_of(operations, self._refusals) | {"securitySchemes": _SECURITY},
            }
        )

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
    """Return the AsyncAPI document of `app` as plain values."""
    content: dict[str, Any] = app.schema.to_specification().to_jsonable()
    return content
