"""Which processes of the services run, and whether their messages are those that this code documents."""

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

_DEADLINE = 1.5
_QUIET = 0.15
"""Nobody can tell how many processes there are: who has said nothing for so many seconds after another one is away."""


class Running(BaseModel):
    """What a process says of itself (NATS ADR-32, INFO)."""

    name: str
    id: str
    version: str
    metadata: dict[str, str] | None = None

    @property
    def sha256(self) -> str:
        """The hash of its document; empty where it tells none."""
        return (self.metadata or {}).get(SHA256, "")


@asynccontextmanager
async def checks(broker: Broker, services: Collection[str]) -> AsyncIterator[dict[str, Check]]:
    """Yield one check per service; it raises `HealthWarning` unless the service runs the documented contract."""
    asking = asyncio.create_task(running(broker, services))
    try:
        yield {f"{service} contract": partial(check, service, asyncio.shield(asking), ROOT) for service in services}
    finally:
        await cancel_and_wait([asking])


async def running(broker: Broker, services: Collection[str]) -> list[Running]:
    """Return every process that answers `$SRV.INFO`, within 1.5 s; it takes less once all of `services` answered."""
    if not broker.is_connected():
        raise RuntimeError("NATS does not answer: start it, or set NATS_URL to where it is.")
    answers = await request_all(
        broker.client,
        "INFO",
        timeout=_DEADLINE,
        idle_timeout=_QUIET,
        complete=lambda found: {answer.get("name") for answer in found} >= set(services),
    )
    return [process for answer in answers for process in _read(answer)]


async def check(service: str, asking: Awaitable[Sequence[Running]], root: Path) -> None:
    """Raise `HealthWarning` when `service` does not answer, or has not the document of the code below `root`."""
    processes = [process for process in await asking if process.name == service]
    if not processes:
        raise HealthWarning(f"{service} does not answer on NATS: start it, or look into its log.")
    path = f"asyncapi/{service}.json"
    try:
        documented = hashlib.sha256((root / path).read_bytes()).hexdigest()
    except FileNotFoundError:
        raise HealthWarning(
            f"{path} is not beside this code, so that nothing can be compared: run `mkstore docs`."
        ) from None
    others = [process for process in processes if process.sha256 != documented]
    if others:
        some = "" if len(others) == len(processes) else f", in {len(others)} of {len(processes)} processes"
        what = ", ".join(sorted({f"{process.version} with {process.sha256[:12] or 'no hash'}" for process in others}))
        raise HealthWarning(
            f"{service} runs with another contract than this code documents{some}: it says {what}, and {path} here is "
            f"{documented[:12]}. Deploy this code, write its document with `mkstore docs`, or run the doctor of the "
            "code that is deployed."
        )


def _read(answer: Mapping[str, Any]) -> list[Running]:
    """Return who that is; nobody where it is no answer: others may be on the same NATS."""
    try:
        return [Running.model_validate(answer)]
    except ValidationError:
        return []
