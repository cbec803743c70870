"""NATS permissions of each service, generated from its AsyncAPI document, and of the login that may only look."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from contracts.inboxes import WATCHER, inbox_prefix
from contracts.streams import STREAMS
from kit.asyncapi.reader import DocumentReader, wildcard_subject
from mkstore import generated

FILE = "deploy/nats-permissions.conf"
_REPLIES = {"max": 1, "expires": "30s"}
"""A service may publish one reply per request; it may not publish to inboxes otherwise."""
_APPEND_ONLY = {stream.name for stream in STREAMS if stream.append_only}
_HEAD = """\
# NATS permissions of each login. Generated from asyncapi/*.json by `mkstore docs`; nats.conf includes this file.
"""


def permissions_of(service: str, document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `permissions` of a service's login, in the format of nats-server's configuration.

    A service may publish the messages that its document lists, reply to its requests, look at its streams, read those
    that it must search, pull from its consumers, purge a stream if its document lists that, and subscribe to its own
    inbox and to what its streams republish. It may not create or change a stream or a consumer (ADR 29).
    """
    reader = DocumentReader(document)
    subscribe = [*_srv(service), f"{inbox_prefix(service)}.>"]
    publish: list[str] = []
    streams: set[str] = set()
    followed: set[str] = set()
    for operation in reader.operations:
        x_nats = operation.x_nats
        subject = wildcard_subject(reader.channels[operation.channel].address)
        if "stream" in x_nats:
            streams.add(x_nats["stream"])
        match operation.role:
            case "replies":
                subscribe.append(f"{subject} {x_nats['queueGroup']}")
            case "requests" | "publishes":
                publish.append(subject)
            case "consumes":
                publish += [
                    *_durable(x_nats["stream"], x_nats["consumer"]),
                    wildcard_subject(x_nats["deadLetterSubject"]),
                ]
                if "itemDeadLetterSubject" in x_nats:
                    publish.append(wildcard_subject(x_nats["itemDeadLetterSubject"]))
                if "purges" in x_nats:
                    publish.append(f"$JS.API.STREAM.PURGE.{x_nats['stream']}")
            case "subscribes":
                subscribe += x_nats["republished"]
                followed.add(x_nats["stream"])
    # Not what it only writes or pulls: JetStream sends what is read to any subject that the reader names (ADR 29).
    searched = streams - _APPEND_ONLY
    publish += [f"$JS.API.STREAM.INFO.{stream}" for stream in streams]
    publish += [subject for stream in searched | followed for subject in _direct_get(stream)]
    publish += [f"$JS.API.STREAM.MSG.GET.{stream}" for stream in followed]  # which replica lags behind, the leader says
    return {
        "publish": {"allow": sorted(set(publish))},
        "subscribe": {"allow": sorted(set(subscribe))},
        "allow_responses": _REPLIES,
    }


def documented(service: str) -> dict[str, Any]:
    """Return the permissions from the committed document of a service. Raises `OSError` if it does not exist."""
    document = json.loads((generated.ROOT / f"asyncapi/{service}.json").read_text("utf-8"))
    return permissions_of(service, document)


def of_watcher() -> dict[str, Any]:
    """Return the `permissions` of the login that may only look: at streams, their messages, and statistics.

    It has no direct gets: JetStream executes and stores their answers where the reader names such a subject (ADR 29).
    """
    requests = (
        f"$JS.API.{request}.{stream.name}"
        for stream in STREAMS
        for request in ("CONSUMER.LIST", "STREAM.INFO", "STREAM.MSG.GET")
    )
    return {
        "publish": {"allow": sorted(["$SRV.STATS", *requests])},
        "subscribe": {"allow": [f"{inbox_prefix(WATCHER)}.>"]},
    }


def as_configuration(permissions: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the permissions as variables of nats-server's configuration, such as `$USERS_MAY`."""
    blocks = [f"{service.upper()}_MAY = {json.dumps(may, indent=2)}\n" for service, may in sorted(permissions.items())]
    return "\n".join([_HEAD, *blocks])


def _direct_get(stream: str) -> Iterator[str]:
    yield from (f"$JS.API.DIRECT.GET.{stream}", f"$JS.API.DIRECT.GET.{stream}.>")


def _durable(stream: str, consumer: Mapping[str, Any]) -> Iterator[str]:
    name = f"{stream}.{consumer['durable']}"
    yield from (f"$JS.API.CONSUMER.{verb}.{name}" for verb in ("INFO", "MSG.NEXT"))
    yield f"$JS.ACK.{name}.>"


def _srv(service: str) -> Iterator[str]:
    """Yield the subjects of the service protocol (NATS ADR-32): of all services, of this one, and of one process."""
    for verb in ("PING", "INFO", "STATS"):
        yield from (f"$SRV.{verb}", f"$SRV.{verb}.{service}", f"$SRV.{verb}.{service}.*")
