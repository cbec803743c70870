"""Events that NATS refused, which `mkstore dead-letters` lists and settles beside the dead letters.

They are in the databases of the services, which reply to requests about them.
"""

import json
from collections.abc import AsyncGenerator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import typer

from contracts.shards import ALL_IN_ONE, Shard, Shards, shard_in
from contracts.streams import covers
from mkstore.cli.dead_letters.text import Outcome, printable
from mkstore.services import SERVICES, of_shards

if TYPE_CHECKING:
    from contracts.outbox import RefusedEvent
    from kit.messaging.broker import Broker

REASON = "refused"
"""The reason of every refused event in the list; the sentence is its detail."""
_TIMEOUT = 5.0


class RefusedId(NamedTuple):
    """A refused event: its service, and its number in the outbox of that service."""

    service: str
    number: int

    def __str__(self) -> str:
        return f"{self.service}:{self.number}"


def services(shards: Shards) -> list[str]:
    """Return the names of the services with an outbox, such as `users` or `payments-0of2`."""
    return [spec.name for spec in of_shards(SERVICES, shards) if spec.database is not None]


def is_service(name: str) -> bool:
    """Return whether a service, or a shard of it, may have this name."""
    service, shard = _placed(name)
    return service in services(ALL_IN_ONE) and shard.suffixed(service, "-") == name


def _placed(name: str) -> tuple[str, Shard]:
    """Return the service and the shard of a name."""
    service, _, suffix = name.partition("-")
    return service, shard_in(f"{service}.{suffix}")


class RefusedEvents:
    """The refused events of all services; those of a service that does not reply are left out, with a note."""

    def __init__(self, broker: "Broker", shards: Shards) -> None:
        from kit.messaging.client import RequestClient  # noqa: PLC0415 - slow to import, and `mkstore --help` is not

        self._client = RequestClient(broker, _TIMEOUT)
        self._shards = shards

    async def select(
        self, ids: Sequence[RefusedId], subject: str, reason: str
    ) -> AsyncGenerator[tuple[RefusedId, "RefusedEvent"], None]:
        """Yield the events with these ids, or if there are none those with this subject and reason."""
        from contracts.outbox import requests_of  # noqa: PLC0415
        from kit.errors import Refusal  # noqa: PLC0415

        if reason and reason.casefold() != REASON:
            return
        for service in dict.fromkeys(each.service for each in ids) or services(self._shards):
            name, shard = _placed(service)
            (listing, _), after = requests_of(name), 0
            while True:
                try:
                    page = (await self._client.request(listing(after=after), shard=shard)).data
                except Refusal as refusal:
                    typer.echo(f"Events that NATS refused are not listed: {refusal}", err=True)
                    break
                for event in page:
                    refused = RefusedId(service, event.id)
                    if refused in ids or (not ids and covers(subject, event.subject)):
                        yield refused, event
                if not page:
                    break
                after = page[-1].id

    async def settle(self, refused: RefusedId, outcome: Outcome) -> None:
        """Publish the event again, or discard it, as the outcome's action says."""
        from contracts.outbox import RefusedEventAction, requests_of  # noqa: PLC0415
        from kit.errors import Refusal  # noqa: PLC0415

        action = RefusedEventAction.DISCARD if outcome.action == "discarded" else RefusedEventAction.PUBLISH
        name, shard = _placed(refused.service)
        _, settling = requests_of(name)
        try:
            await self._client.request(settling(id=refused.number, action=action), shard=shard)
        except Refusal as refusal:
            outcome.keep(str(refused), str(refusal))
        else:
            outcome.done += 1


def row(refused: RefusedId, event: "RefusedEvent") -> dict[str, object]:
    """Return the columns of an event in the list of dead letters."""
    return {
        "id": str(refused),
        "subject": printable(event.subject),
        "reason": REASON,
        "detail": printable(event.reason),
        "attempts": event.attempts,
        "first": event.occurred_at.isoformat(),
        "last": event.refused_at.isoformat(),
        "waiting": event.waiting,
        "requestId": printable(event.request_id),
        "bytes": event.bytes,
    }


def as_json(refused: RefusedId, event: "RefusedEvent") -> str:
    """Return an event as JSON, with the beginning of its body."""
    return json.dumps(row(refused, event) | {"body": event.body}, indent=2)


def as_text(refused: RefusedId, event: "RefusedEvent") -> str:
    """Return an event as text for a terminal, with the beginning of its body."""
    fields = row(refused, event) | {"body": printable(event.body)}
    return "\n".join(f"{name + ':':<11} {value}" for name, value in fields.items())
