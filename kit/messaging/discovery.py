"""Tells whoever asks on NATS which services run, by which contract, and how they fare (NATS ADR-32).

`nats micro ls`, `info` and `stats` speak it, and so does `mkstore doctor`.
"""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from structlog.stdlib import get_logger

from kit.asyncapi import VERSION, ServiceSpecification
from kit.messaging.broker import Broker
from kit.messaging.endpoints import endpoints_of, summary_of
from kit.runtime.tasks import cancel_and_wait

log = get_logger(__name__)

SHA256 = "asyncapi.sha256"
"""In the metadata: what `sha256sum asyncapi/<service>.json` prints of the document of what runs."""
URL = "asyncapi.url"
"""In the metadata: where that document is read."""

_QUIET_SECONDS = 5.0


async def request_all(
    client: Client,
    verb: str,
    *,
    within: float,
    quiet: float,
    complete: Callable[[list[dict[str, Any]]], bool] = lambda _: True,
) -> list[dict[str, Any]]:
    """Ask all processes of all services, `$SRV.INFO` or another verb; what is no JSON object is no answer.

    Nobody can tell how many there are. It ends when nobody has said anything for `quiet` seconds and what was said is
    `complete`, or after `within` seconds. Raises nats-py's errors where it cannot ask.
    """
    inbox = client.new_inbox()
    subscription = await client.subscribe(inbox)
    found: list[dict[str, Any]] = []
    try:
        async with asyncio.timeout(within):
            await client.publish(f"$SRV.{verb}", reply=inbox)
            while True:
                message = await subscription.next_msg(timeout=quiet if complete(found) else within)
                if "Status" in (message.headers or {}):
                    break  # nobody is subscribed
                with suppress(ValueError):
                    found += [answer] if isinstance(answer := json.loads(message.data), dict) else []
    except TimeoutError:  # nats-py's own is one
        pass  # nobody else says anything
    finally:
        with suppress(NatsError):
            await subscription.unsubscribe()
    return found


class Discovery:
    """Answers `$SRV.PING`, `$SRV.INFO` and `$SRV.STATS`, each also with the service's name, and with that and an id.

    Every process has an id of its own and answers, in no queue group. All answers carry where the service's document is
    read and its hash, so that what runs can be compared with what is documented; what the service does does not wait
    for any of this, and goes on when it fails.
    """

    def __init__(self, broker: Broker, name: str, documented: ServiceSpecification, url: str) -> None:
        self.id = uuid4().hex
        self._broker = broker
        self._name = name
        self._description = summary_of(documented.description)
        self._documented = documented
        self._url = f"{url.rstrip('/')}/{name}.json"
        self._started = datetime.now(UTC)
        self._hash: asyncio.Task[str] | None = None
        self._later: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to answer, once the broker is connected; the client takes the subscriptions up again by itself."""
        self._started = datetime.now(UTC)
        answers = {"PING": self._ping, "INFO": self._info, "STATS": self._stats}
        try:
            for verb, answer in answers.items():
                for subject in (verb, f"{verb}.{self._name}", f"{verb}.{self._name}.{self.id}"):
                    await self._broker.client.subscribe(f"$SRV.{subject}", cb=_replying(answer))
        except (NatsError, OSError) as error:
            log.warning("nobody can discover this process", reason=str(error) or type(error).__name__)
        self._later = asyncio.create_task(self._prepare())

    async def stop(self) -> None:
        """Prepare nothing any more; what is subscribed ends with the connection."""
        await cancel_and_wait(task for task in (self._later, self._hash) if task is not None)

    async def _ping(self) -> dict[str, Any]:
        return await self._identity("ping")

    async def _info(self) -> dict[str, Any]:
        endpoints = [endpoint.info(self._name) for endpoint in endpoints_of(self._broker.subscribers)]
        return await self._identity("info") | {"description": self._description, "endpoints": endpoints}

    async def _stats(self) -> dict[str, Any]:
        endpoints = [endpoint.stats() for endpoint in endpoints_of(self._broker.subscribers)]
        started = self._started.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return await self._identity("stats") | {"started": started, "endpoints": endpoints}

    async def _identity(self, answer: str) -> dict[str, Any]:
        return {
            "type": f"io.nats.micro.v1.{answer}_response",
            "name": self._name,
            "id": self.id,
            "version": VERSION,
            "metadata": await self._metadata(),
        }

    async def _metadata(self) -> dict[str, str]:
        if self._hash is None:
            self._hash = asyncio.create_task(asyncio.to_thread(self._hashed))
        found = await asyncio.shield(self._hash)  # several wait for it, and one of them may be cancelled
        return ({SHA256: found} if found else {}) | {URL: self._url}

    def _hashed(self) -> str:
        try:
            document = self._documented.to_specification().to_json()
        except Exception:  # whatever it is, an answer without a hash is better than none
            log.exception("the document of this process cannot be made")
            return ""
        return hashlib.sha256(document.encode()).hexdigest()

    async def _prepare(self) -> None:
        """Have the hash ready before it is asked for: the nats command waits 0.3 s after the first answer."""
        await asyncio.sleep(_QUIET_SECONDS)  # a process that has just started has requests to answer first
        await self._metadata()


def _replying(answer: Callable[[], Awaitable[Mapping[str, Any]]]) -> Callable[[Msg], Awaitable[None]]:
    async def reply(message: Msg) -> None:
        if message.reply:
            await message.respond(json.dumps(await answer()).encode())

    return reply
