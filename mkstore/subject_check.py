"""Checks that the documents describe what NATS stores and delivers: subjects, durable consumers and streams."""

import json
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from nats.js.errors import NotFoundError

from contracts.consumers import copying, durables
from contracts.shards import ALL_IN_ONE, Shards
from contracts.streams import STREAMS, streams_of
from kit.asyncapi.reader import DocumentReader, wildcard_subject
from kit.errors import HealthWarning
from kit.messaging.broker import Broker
from kit.ops.health import Check
from kit.ops.subjects import Handled, check_subjects
from mkstore.generated import ROOT
from mkstore.shard_names import ShardNames

MAX_SUBJECTS = 10_000
"""Subjects of a stream up to which they are compared; more than a process compares every minute."""
_PAGE = 256
"""Streams or consumers in one reply of JetStream."""
_SHOWN = 10
"""Findings of a check that are printed; the others are counted."""
_REPAIR = "run `mkstore docs`, then `mkstore provision`."


def checks(broker: Broker, services: Sequence[str], root: Path = ROOT, shards: Shards = ALL_IN_ONE) -> dict[str, Check]:
    """Return the checks by name; `root` has the documents of the services in `asyncapi/`.

    Each raises `HealthWarning` with a sentence for each finding, and `RuntimeError` if the broker is not connected.
    """
    return {
        "subjects": partial(
            _checked, broker, lambda: check_subjects(broker, handled(services, root, shards), max_subjects=MAX_SUBJECTS)
        ),
        "other consumers": partial(_checked, broker, lambda: _check_consumers(broker, services, root, shards)),
        "other streams": partial(_checked, broker, lambda: _check_streams(broker, shards)),
    }


def handled(services: Sequence[str], root: Path = ROOT, shards: Shards = ALL_IN_ONE) -> Handled:
    """Return what the document of each service publishes to its own streams or consumes from them.

    Raises `HealthWarning` if a document is missing.
    """
    readers = {service: _document(service, root) for service in services}
    return {
        stream.of(shard): [
            placed
            for operation in reader.operations
            if operation.role in {"publishes", "consumes"} and operation.x_nats.get("stream") == stream.name
            for placed in stream.places(wildcard_subject(reader.channels[operation.channel].address), shard)
        ]
        for stream in STREAMS
        for shard in shards.all
        if (reader := readers.get(stream.owner or "")) is not None
    }


async def _checked(broker: Broker, check: Callable[[], Awaitable[str | None]]) -> str | None:
    if not broker.is_connected():
        raise RuntimeError("NATS does not answer: start it, or set NATS_URL to its address.")
    return await check()


async def _check_consumers(broker: Broker, services: Sequence[str], root: Path, shards: Shards) -> None:
    """Compare the durable consumers with the documents; those of the contracts have checks that name each."""
    names = ShardNames(shards)
    documented = {
        placed
        for service in services
        for operation in _document(service, root).operations
        if operation.role == "consumes"
        for placed in names.durables(operation.x_nats["stream"], operation.x_nats["consumer"]["durable"])
    } | {(each.stream.name, each.name) for shard in shards.all for each in copying(shard)}
    existing: dict[tuple[str, str], int] = {}
    for stream in streams_of(shards.all):
        for info in await _all(partial(_consumers, broker, stream.name)):
            if info.config.durable_name:
                waiting = (info.num_pending or 0) + (info.num_ack_pending or 0)
                existing[stream.name, info.config.durable_name] = waiting
    provisioned = {(each.stream.name, each.name) for each in durables(shards)}
    findings = [
        f"The consumer {name} of {stream} is in no document, and {waiting} of its messages wait: if no running version "
        f"and no other program uses it, remove it with `nats consumer rm {stream} {name}`."
        for (stream, name), waiting in sorted(existing.items())
        if (stream, name) not in documented
    ] + [
        f"The consumer {name} of {stream} is documented and does not exist: {_REPAIR}"
        for stream, name in sorted(documented - existing.keys() - provisioned)
    ]
    _report(findings)


async def _consumers(broker: Broker, stream: str, offset: int) -> Sequence[Any]:
    try:
        return await broker.jetstream.consumers_info(stream, offset)
    except NotFoundError:
        return []  # the check of the stream reports it


async def _check_streams(broker: Broker, shards: Shards) -> None:
    """Find the streams that the contracts do not declare."""
    declared = {stream.name for stream in streams_of(shards.all)}
    findings = [
        f"The stream {info.config.name} stores {', '.join(info.config.subjects or ('copies',))}, which no document "
        f"describes: if no other program uses it, remove it with `nats stream rm {info.config.name}`."
        for info in await _all(broker.jetstream.streams_info)
        if info.config.name not in declared
    ]
    _report(findings)


def _report(findings: Sequence[str]) -> None:
    if findings:
        more = [f"And {len(findings) - _SHOWN} more."] if len(findings) > _SHOWN else []
        raise HealthWarning(" ".join([*findings[:_SHOWN], *more]))


async def _all(page: Callable[[int], Awaitable[Sequence[Any]]]) -> list[Any]:
    """Return what all pages contain."""
    items: list[Any] = []
    while len(found := await page(len(items))) == _PAGE:
        items += found
    return [*items, *found]


def _document(service: str, root: Path) -> DocumentReader:
    path = f"asyncapi/{service}.json"
    try:
        return DocumentReader(json.loads((root / path).read_text("utf-8")))
    except FileNotFoundError:
        raise HealthWarning(f"{path} is missing, so it cannot be compared with NATS: run `mkstore docs`.") from None
