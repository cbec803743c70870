"""What each NATS login may do: a service what its AsyncAPI document says, and the watcher look at everything."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from contracts.consumers import copying
from contracts.logins import IMPORTED_API, WATCHER, inbox_prefix
from contracts.shards import ALL_IN_ONE, Shards
from contracts.streams import DEAD, STREAMS, streams_of
from kit.asyncapi.reader import DocumentReader, wildcard_subject
from mkstore import generated
from mkstore.shard_names import ShardNames

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

    def consume(self, stream: str, durable: str) -> None:
        """Allow to look at a durable consumer of a stream, to pull from it and to acknowledge."""
        self.api |= {f"CONSUMER.INFO.{stream}.{durable}", f"CONSUMER.MSG.NEXT.{stream}.{durable}"}
        self.acknowledges.add(f"$JS.ACK.{stream}.{durable}.>")

    def discovery(self) -> set[str]:
        """Return the subjects of the service protocol: of all services, of this one, and of one process."""
        if not self.discoverable:
            return set()
        ends = ("", f".{self.login}", f".{self.login}.*")
        return {f"$SRV.{verb}{end}" for verb in DISCOVERY for end in ends}


def rights_of(service: str, document: Mapping[str, Any], shards: Shards = ALL_IN_ONE) -> Rights:
    """Return the rights of a service's login, which the processes of all shards use.

    It may publish the messages that its document lists, reply to its requests, look at its streams, read those that it
    must search, pull from its consumers, purge a stream if its document lists that, and receive what its streams
    republish. It may not create or change a stream or a consumer (ADR 29).
    """
    reader, rights, names = DocumentReader(document), Rights(service), ShardNames(shards)
    streams: set[str] = set()
    followed: set[str] = set()
    for operation in reader.operations:
        x_nats = operation.x_nats
        subjects = names.subjects(wildcard_subject(reader.channels[operation.channel].address))
        if "stream" in x_nats:
            streams.add(x_nats["stream"])
        match operation.role:
            case "replies":
                rights.answers |= subjects
            case "requests":
                rights.requests |= subjects
            case "publishes":
                rights.publishes |= subjects
            case "consumes":
                _consume(rights, x_nats, names)
            case "subscribes":
                rights.follows |= names.all_subjects(x_nats["republished"])
                followed.add(x_nats["stream"])
    _copy(rights, shards)
    rights.api |= {f"STREAM.INFO.{stream}" for stream in names.all_streams(streams)}
    # Not what it only writes or pulls: a service reads what it must search.
    read = names.all_streams((streams - _APPEND_ONLY) | followed)
    rights.api |= {subject for stream in read for subject in _direct_get(stream)}
    # Which replica lags behind, the leader says.
    rights.api |= {f"STREAM.MSG.GET.{stream}" for stream in read}
    return rights


def _consume(rights: Rights, x_nats: Mapping[str, Any], names: ShardNames) -> None:
    """Add the rights of a durable consumer, from the extension of its operation."""
    for stream, durable in names.durables(x_nats["stream"], x_nats["consumer"]["durable"]):
        rights.consume(stream, durable)
    letters = [x_nats[each] for each in ("deadLetterSubject", "itemDeadLetterSubject") if each in x_nats]
    rights.publishes |= names.all_subjects(map(wildcard_subject, letters))
    if "purges" in x_nats:
        rights.api |= {f"STREAM.PURGE.{stream}" for stream in names.all_streams([x_nats["stream"]])}


def _copy(rights: Rights, shards: Shards) -> None:
    """Add the rights to copy payments from one shard to another, which no document lists."""
    for durable in (each for shard in shards.all for each in copying(shard) if each.service == rights.login):
        rights.consume(durable.stream.name, durable.name)
        rights.publishes.add(f"{DEAD}{durable.subject}")


def documented(service: str, shards: Shards = ALL_IN_ONE) -> Rights:
    """Return the rights from the committed document of a service. Raises `OSError` if it does not exist."""
    return rights_of(service, json.loads((generated.ROOT / f"asyncapi/{service}.json").read_text("utf-8")), shards)


def every(services: Sequence[str], shards: Shards = ALL_IN_ONE) -> list[Rights]:
    """Return the rights of all logins: of these services, from their committed documents, and of the watcher."""
    return [*(documented(service, shards) for service in services), of_watcher(shards)]


def of_watcher(shards: Shards = ALL_IN_ONE) -> Rights:
    """Return the rights of the login that may only look: at streams, their messages, and statistics."""
    requests = ("CONSUMER.LIST", "STREAM.INFO", "STREAM.MSG.GET")
    return Rights(
        WATCHER,
        api={f"{request}.{stream.name}" for stream in streams_of(shards.all) for request in requests},
        discovers={"STATS"},
        discoverable=False,
    )


def _direct_get(stream: str) -> Iterator[str]:
    yield from (f"DIRECT.GET.{stream}", f"DIRECT.GET.{stream}.>")
