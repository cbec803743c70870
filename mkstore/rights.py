"""What each NATS login may do: a service what its AsyncAPI document says, and the watcher look at everything."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from contracts.logins import IMPORTED_API, WATCHER, inbox_prefix
from contracts.streams import STREAMS
from kit.asyncapi.reader import DocumentReader, wildcard_subject
from mkstore import generated

DISCOVERY = ("PING", "INFO", "STATS")
"""The verbs of the service protocol (NATS ADR-32)."""
_REPLIES = {"max": 1, "expires": "30s"}
"""A service may publish one reply per request; it may not publish to inboxes otherwise."""
_APPEND_ONLY = {stream.name for stream in STREAMS if stream.append_only}


@dataclass
class Rights:
    """The rights of one login, as subjects without the prefix of JetStream's API."""

    login: str
    api: set[str] = field(default_factory=set)
    """Requests to JetStream, such as `STREAM.INFO.USER_EVENTS`."""
    acknowledges: set[str] = field(default_factory=set)
    """Acknowledgements to JetStream."""
    publishes: set[str] = field(default_factory=set)
    """Messages that streams store."""
    requests: set[str] = field(default_factory=set)
    """Requests to other services."""
    answers: set[str] = field(default_factory=set)
    """Requests that it receives, in the queue group with its name."""
    follows: set[str] = field(default_factory=set)
    """Messages that streams republish."""
    discovers: set[str] = field(default_factory=set)
    """Verbs of the service protocol that it asks all services."""
    discoverable: bool = True
    """Whether it answers requests of the service protocol."""

    def permissions(self) -> dict[str, Any]:
        """Return the `permissions` of the login, in the format of nats-server's configuration."""
        api = {f"{IMPORTED_API}.{request}" for request in self.api}
        discovers = {f"$SRV.{verb}" for verb in self.discovers}
        subscribe = {f"{subject} {self.login}" for subject in self.answers} | self.follows | self.discovery()
        return {
            "publish": {"allow": sorted(api | self.acknowledges | self.publishes | self.requests | discovers)},
            "subscribe": {"allow": sorted(subscribe | {f"{inbox_prefix(self.login)}.>"})},
        } | ({"allow_responses": _REPLIES} if self.discoverable else {})

    def discovery(self) -> set[str]:
        """Return the subjects of the service protocol: of all services, of this one, and of one process."""
        if not self.discoverable:
            return set()
        ends = ("", f".{self.login}", f".{self.login}.*")
        return {f"$SRV.{verb}{end}" for verb in DISCOVERY for end in ends}


def rights_of(service: str, document: Mapping[str, Any]) -> Rights:
    """Return the rights of a service's login.

    It may publish the messages that its document lists, reply to its requests, look at its streams, read those that it
    must search, pull from its consumers, purge a stream if its document lists that, and receive what its streams
    republish. It may not create or change a stream or a consumer (ADR 29).
    """
    reader, rights = DocumentReader(document), Rights(service)
    streams: set[str] = set()
    followed: set[str] = set()
    for operation in reader.operations:
        x_nats = operation.x_nats
        subject = wildcard_subject(reader.channels[operation.channel].address)
        if "stream" in x_nats:
            streams.add(x_nats["stream"])
        match operation.role:
            case "replies":
                rights.answers.add(subject)
            case "requests":
                rights.requests.add(subject)
            case "publishes":
                rights.publishes.add(subject)
            case "consumes":
                durable = f"{x_nats['stream']}.{x_nats['consumer']['durable']}"
                rights.api |= {f"CONSUMER.INFO.{durable}", f"CONSUMER.MSG.NEXT.{durable}"}
                rights.acknowledges.add(f"$JS.ACK.{durable}.>")
                rights.publishes.add(wildcard_subject(x_nats["deadLetterSubject"]))
                if "itemDeadLetterSubject" in x_nats:
                    rights.publishes.add(wildcard_subject(x_nats["itemDeadLetterSubject"]))
                if "purges" in x_nats:
                    rights.api.add(f"STREAM.PURGE.{x_nats['stream']}")
            case "subscribes":
                rights.follows |= set(x_nats["republished"])
                followed.add(x_nats["stream"])
    rights.api |= {f"STREAM.INFO.{stream}" for stream in streams}
    # Not what it only writes or pulls: a service reads what it must search.
    rights.api |= {subject for stream in (streams - _APPEND_ONLY) | followed for subject in _direct_get(stream)}
    rights.api |= {f"STREAM.MSG.GET.{stream}" for stream in followed}  # which replica lags behind, the leader says
    return rights


def documented(service: str) -> Rights:
    """Return the rights from the committed document of a service. Raises `OSError` if it does not exist."""
    return rights_of(service, json.loads((generated.ROOT / f"asyncapi/{service}.json").read_text("utf-8")))


def every(services: Sequence[str]) -> list[Rights]:
    """Return the rights of all logins: of these services, from their committed documents, and of the watcher."""
    return [*map(documented, services), of_watcher()]


def of_watcher() -> Rights:
    """Return the rights of the login that may only look: at streams, their messages, and statistics."""
    requests = ("CONSUMER.LIST", "STREAM.INFO", "STREAM.MSG.GET")
    return Rights(
        WATCHER,
        api={f"{request}.{stream.name}" for stream in STREAMS for request in requests},
        discovers={"STATS"},
        discoverable=False,
    )


def _direct_get(stream: str) -> Iterator[str]:
    yield from (f"DIRECT.GET.{stream}", f"DIRECT.GET.{stream}.>")
