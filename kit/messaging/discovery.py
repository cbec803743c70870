"""Service discovery on NATS: which services run, with which contract, and their statistics (NATS ADR-32).

`nats micro ls`, `info` and `stats` use it, and so does `mkstore doctor`.
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

from kit.asyncapi.specification import VERSION, ServiceSpecification
from kit.messaging.broker import Broker
from kit.messaging.endpoints import endpoints_of, summary_of
from kit.runtime.tasks import cancel_and_wait

log = get_logger(__name__)

SHA256 = "asyncapi.sha256"
"""Metadata key: SHA-256 of the running service's document, as `sha256sum asyncapi/<service>.json` prints it."""
URL = "asyncapi.url"
"""Metadata key: URL of that document."""

PREPARE_DELAY = 5.0
"""Seconds from the start until the document is hashed: a new process has requests to handle first."""


async def request_all(
    client: Client,
    verb: str,
    *,
    timeout: float,  # noqa: ASYNC109 - the end of the collection, not a failure
    idle_timeout: float,
    complete: Callable[[list[dict[str, Any]]], bool] = lambda _: True,
) -> list[dict[str, Any]]:
    """Send `$SRV.<verb>` to all processes of all services and return the replies that are JSON objects.

    The number of processes is unknown. Collects until no reply has arrived for `idle_timeout` seconds and `complete`
    accepts the replies, at most `timeout` seconds. Raises nats-py's errors if it cannot publish.
    """
    inbox = client.new_inbox()
    subscription = await client.subscribe(inbox)
    replies: list[dict[str, Any]] = []
    try:
        async with asyncio.timeout(timeout):
            await client.publish(f"$SRV.{verb}", reply=inbox)
            while True:
                message = await subscription.next_msg(timeout=idle_timeout if complete(replies) else timeout)
                if "Status" in (message.headers or {}):
                    break  # 503: no subscribers
                with suppress(ValueError):
                    replies += [reply] if isinstance(reply := json.loads(message.data), dict) else []
    except TimeoutError:  # nats-py's timeout is one too
        pass  # no more replies
    finally:
        with suppress(NatsError):
            await subscription.unsubscribe()
    return replies


class Discovery:
    """Replies to `$SRV.PING`, `$SRV.INFO` and `$SRV.STATS`, also with the service's name, or name and id, appended.

    Every process has a unique id and replies itself, without a queue group. The metadata of a reply has the URL and the
    hash of the service's document, so that running services can be compared with their documentation. The service's
    work never waits for discovery and goes on if it fails.
    """

    def __init__(
        self,
        broker: Broker,
        name: str,
        documented: ServiceSpecification,
        url: str,
        *,
        prepare_delay: float = PREPARE_DELAY,
    ) -> None:
        self.id = uuid4().hex
        self._broker = broker
        self._name = name
        self._description = summary_of(documented.description)
        self._documented = documented
        self._url = f"{url.rstrip('/')}/{name}.json"
        self._started = datetime.now(UTC)
        self._prepare_delay = prepare_delay
        self._hash: asyncio.Task[str] | None = None
        self._prepare_task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start to reply; the broker must be connected. The client resubscribes by itself after a reconnect."""
        self._started = datetime.now(UTC)
        handlers = {"PING": self._ping, "INFO": self._info, "STATS": self._stats}
        try:
            for verb, handler in handlers.items():
                for subject in (verb, f"{verb}.{self._name}", f"{verb}.{self._name}.{self.id}"):
                    await self._broker.client.subscribe(f"$SRV.{subject}", cb=_replying(handler))
        except (NatsError, OSError) as error:
            log.warning("service discovery failed", reason=str(error) or type(error).__name__)
        self._prepare_task = asyncio.create_task(self._prepare())

    async def stop(self) -> None:
        """Stop the background work; the subscriptions end with the connection."""
        await cancel_and_wait(task for task in (self._prepare_task, self._hash) if task is not None)

    async def _ping(self) -> dict[str, Any]:
        return await self._identity("ping")

    async def _info(self) -> dict[str, Any]:
        endpoints = [endpoint.info(self._name) for endpoint in endpoints_of(self._broker)]
        return await self._identity("info") | {"description": self._description, "endpoints": endpoints}

    async def _stats(self) -> dict[str, Any]:
        endpoints = [endpoint.stats() for endpoint in endpoints_of(self._broker)]
        started = self._started.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return await self._identity("stats") | {"started": started, "endpoints": endpoints}

    async def _identity(self, verb: str) -> dict[str, Any]:
        return {
            "type": f"io.nats.micro.v1.{verb}_response",
            "name": self._name,
            "id": self.id,
            "version": VERSION,
            "metadata": await self._metadata(),
        }

    async def _metadata(self) -> dict[str, str]:
        if self._hash is None:
            self._hash = asyncio.create_task(asyncio.to_thread(self._hashed))
        sha256 = await asyncio.shield(self._hash)  # several replies wait for it, and one may be cancelled
        return ({SHA256: sha256} if sha256 else {}) | {URL: self._url}

    def _hashed(self) -> str:
        try:
            document = self._documented.to_specification().to_json()
        except Exception:  # a reply without a hash is better than none
            log.exception("AsyncAPI document failed")
            return ""
        return hashlib.sha256(document.encode()).hexdigest()

    async def _prepare(self) -> None:
        """Compute the hash before the first request: the nats command waits only 0.3 s after the first reply."""
        await asyncio.sleep(self._prepare_delay)
        await self._metadata()


def _replying(handler: Callable[[], Awaitable[Mapping[str, Any]]]) -> Callable[[Msg], Awaitable[None]]:
    async def reply(message: Msg) -> None:
        if message.reply:
            await message.respond(json.dumps(await handler()).encode())

    return reply
