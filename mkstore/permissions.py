"""What NATS lets each service do: exactly what its AsyncAPI document says that it does."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from kit.messaging.broker import inbox_prefix
from mkstore import generated

FILE = "deploy/nats-permissions.conf"
_REPLIES = {"max": 1, "expires": "30s"}
"""A service may answer each request once; it has no other way to another's inbox."""
_HEAD = """\
# What NATS lets each service do, from asyncapi/*.json: `mkstore docs` writes it. nats.conf includes it.
"""


def permissions_of(service: str, document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `permissions` of a service's login, as nats-server's configuration has them.

    It may send what the document says that it sends, asks and buries, answer what it answers, make and read the streams
    that it sends to or hears, and its consumers. It hears replies to itself and no other's.
    """
    operations = document["operations"].values()
    hears = [*_srv(service), f"{inbox_prefix(service)}.>"]
    sends: list[str] = []
    streams: set[str] = set()
    for operation in operations:
        facts = operation["x-nats"]
        channel = document["channels"][operation["channel"]["$ref"].removeprefix("#/channels/")]
        subject = _wildcards(channel["address"])
        if "stream" in facts:
            streams.add(facts["stream"])
        match facts["role"]:
            case "replies":
                hears.append(f"{subject} {facts['queueGroup']}")
            case "requests" | "publishes":
                sends.append(subject)
            case "consumes":
                sends += [*_durable(facts["stream"], facts["consumer"]), _wildcards(facts["deadLetterSubject"])]
            case "subscribes":
                sends += _ordered(facts["stream"])
    sends += [subject for stream in streams for subject in _stream(stream)]
    return {
        "publish": {"allow": sorted(set(sends))},
        "subscribe": {"allow": sorted(set(hears))},
        "allow_responses": _REPLIES,
    }


def documented(service: str) -> dict[str, Any]:
    """Return what the committed document of a service lets it do; `OSError` where there is none."""
    document = json.loads((generated.ROOT / f"asyncapi/{service}.json").read_text("utf-8"))
    return permissions_of(service, document)


def as_configuration(permissions: Mapping[str, Mapping[str, Any]]) -> str:
    """Write the permissions down as variables for nats-server's configuration, such as `$USERS_MAY`."""
    blocks = [f"{service.upper()}_MAY = {json.dumps(may, indent=2)}\n" for service, may in sorted(permissions.items())]
    return "\n".join([_HEAD, *blocks])


def _wildcards(address: str) -> str:
    return re.sub(r"\{\w+\}", "*", address)


def _stream(stream: str) -> Iterator[str]:
    yield from (f"$JS.API.STREAM.{verb}.{stream}" for verb in ("INFO", "CREATE", "UPDATE", "MSG.GET"))
    yield from (f"$JS.API.DIRECT.GET.{stream}", f"$JS.API.DIRECT.GET.{stream}.>")


def _durable(stream: str, consumer: Mapping[str, Any]) -> Iterator[str]:
    name = f"{stream}.{consumer['durable']}"
    yield f"$JS.API.CONSUMER.CREATE.{name}.{consumer['filterSubject']}"
    yield from (f"$JS.API.CONSUMER.{verb}.{name}" for verb in ("DURABLE.CREATE", "INFO", "MSG.NEXT"))
    yield f"$JS.ACK.{name}.>"


def _ordered(stream: str) -> Iterator[str]:
    """Say what an ordered consumer needs: it is made anew, under another name, whenever it lost something."""
    yield from (f"$JS.API.CONSUMER.CREATE.{stream}", f"$JS.API.CONSUMER.CREATE.{stream}.>")
    yield from (f"$JS.API.CONSUMER.{verb}.{stream}.*" for verb in ("INFO", "DELETE"))
    yield f"$JS.FC.{stream}.>"


def _srv(service: str) -> Iterator[str]:
    """Say what the service protocol (NATS ADR-32) asks of everybody, of this service, and of one process of it."""
    for verb in ("PING", "INFO", "STATS"):
        yield from (f"$SRV.{verb}", f"$SRV.{verb}.{service}", f"$SRV.{verb}.{service}.*")
