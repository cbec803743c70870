"""Checks that the running services have the contracts that this code documents."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from kit.errors import HealthWarning
from kit.messaging.broker import Broker
from kit.messaging.discovery import SHA256, request_all
from kit.ops.health import Check
from kit.runtime.tasks import cancel_and_wait
from mkstore.generated import ROOT

_TIMEOUT = 1.5
_IDLE_TIMEOUT = 0.15
"""Seconds after the last reply until no further process is expected: their number is unknown."""


class Running(BaseModel):
    """One process of a service, from its INFO reply (NATS ADR-32)."""

    name: str
    id: str
    version: str
    metadata: dict[str, str] | None = None

    @property
    def sha256(self) -> str:
        """Hash of its AsyncAPI document; empty if it sends none."""
        return (self.metadata or {}).get(SHA256, "")


@asynccontextmanager
async def checks(broker: Broker, services: Collection[str]) -> AsyncIterator[dict[str, Check]]:
    """Yield one check per service, which raises `HealthWarning` unless the service runs the documented contract."""
    discovery = asyncio.create_task(running(broker, services))
    try:
        yield {f"{service} contract": partial(check, service, asyncio.shield(discovery), ROOT) for service in services}
    finally:
        await cancel_and_wait([discovery])


async def running(broker: Broker, services: Collection[str]) -> list[Running]:
    """Return every process that answers `$SRV.INFO` within 1.5 s; return earlier once all of `services` have answered.

    Raises `RuntimeError` if the broker is not connected.
    """
    if not broker.is_connected():
        raise RuntimeError("NATS does not answer: start it, or set NATS_URL to its address.")
    replies = await request_all(
        broker.client,
        "INFO",
        timeout=_TIMEOUT,
        idle_timeout=_IDLE_TIMEOUT,
        complete=lambda replies: {reply.get("name") for reply in replies} >= set(services),
    )
    return [process for reply in replies for process in _parse(reply)]


async def check(service: str, discovery: Awaitable[Sequence[Running]], root: Path) -> None:
    """Raise `HealthWarning` if `service` does not answer, or its document differs from the one below `root`."""
    processes = [process for process in await discovery if process.name == service]
    if not processes:
        raise HealthWarning(f"{service} does not answer on NATS: start it, or check its log.")
    path = f"asyncapi/{service}.json"
    try:
        documented = hashlib.sha256((root / path).read_bytes()).hexdigest()
    except FileNotFoundError:
        raise HealthWarning(f"{path} is missing, so the contract cannot be compared: run `mkstore docs`.") from None
    others = [process for process in processes if process.sha256 != documented]
    if others:
        share = "" if len(others) == len(processes) else f" in {len(others)} of {len(processes)} processes"
        versions = ", ".join(
            sorted({f"{process.version} with {process.sha256[:12] or 'no hash'}" for process in others})
        )
        raise HealthWarning(
            f"{service} runs another contract than this code documents{share}: it runs {versions}, and {path} here is "
            f"{documented[:12]}. Deploy this code, update its document with `mkstore docs`, or run `mkstore doctor` of "
            "the deployed code."
        )


def _parse(reply: Mapping[str, Any]) -> list[Running]:
    """Return the process, or nothing if the reply is invalid: other programs may share the NATS server."""
    try:
        return [Running.model_validate(reply)]
    except ValidationError:
        return []
