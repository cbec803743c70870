"""What the promises rest on and code cannot make true: NATS syncs before it acknowledges, and clocks agree."""

import asyncio
import json
import os
import signal
import time
import urllib.request
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Self

from pydantic import BaseModel
from structlog.stdlib import get_logger

from kit.errors import CannotStart, HealthWarning
from kit.messaging.broker import Broker
from kit.ops.health import Check
from kit.runtime.settings import Settings

log = get_logger(__name__)

Clock = Callable[[], Awaitable[datetime]]
"""Asks a server for the time."""

_ENOUGH = 3
"""Replicas of a stream, with which a message is on several servers before it is acknowledged."""
_APART = 1.0
"""Seconds by which clocks may differ."""
_DEADLINE = 0.9
_LOOK_DEADLINE = 2.0


class NotDurable(CannotStart):
    """NATS acknowledges what a power failure may still take."""

    def __init__(self) -> None:
        super().__init__(
            "NATS acknowledges messages before they are on its disk, and a power failure takes them: "
            "set `sync_interval: always` in its jetstream block, or run three servers and set STREAM_REPLICAS=3."
        )


class _Config(BaseModel):
    sync_always: bool = False


class _JetStream(BaseModel):
    config: _Config | None = None


class _Server(BaseModel):
    """What nats-server's `/varz` says that matters here."""

    server_id: str
    now: datetime
    jetstream: _JetStream = _JetStream()
    cluster: Mapping[str, Any] = {}


class Durability:
    """Looks whether the servers are such that the promises can be kept; what is wrong is said with its repair.

    nats-server tells its clients nothing of this, so it is asked at `monitor_url`, where its monitoring answers. In
    `production` a server that does not sync keeps a process from starting; elsewhere it is a warning.
    """

    def __init__(
        self, broker: Broker, monitor_url: str, *, replicas: int, production: bool, database_time: Clock | None = None
    ) -> None:
        self._broker = broker
        self._monitor_url = monitor_url.rstrip("/")
        self._replicas = replicas
        self._production = production
        self._database_time = database_time

    @classmethod
    def of(cls, broker: Broker, settings: Settings, database_time: Clock | None = None) -> Self:
        """Look as a service's settings say."""
        return cls(
            broker,
            settings.nats_monitor_url,
            replicas=settings.stream_replicas,
            production=settings.app_env == "production",
            database_time=database_time,
        )

    def checks(self) -> dict[str, Check]:
        """Return the checks by name; each raises `HealthWarning`, or `NotDurable` in production."""
        checks: dict[str, Check] = {"nats-sync": self.check_sync, "nats-clock": self.check_nats_clock}
        return checks | ({"database-clock": self.check_database_clock} if self._database_time is not None else {})

    async def check_sync(self) -> None:
        """Raise unless NATS has a message on disk, or on three servers, before it acknowledges it."""
        if self._replicas >= _ENOUGH:
            return
        if not self._monitor_url:
            raise HealthWarning(
                "Nothing tells whether NATS syncs messages before it acknowledges them: "
                "set NATS_MONITOR_URL to where its monitoring answers, such as http://nats:8222."
            )
        server = await self._server()
        connected_to = self._broker.server_id()
        if connected_to and server.server_id != connected_to and not server.cluster:
            raise HealthWarning(
                f"At {self._monitor_url} answers another server than the one that NATS_URL names: "
                "set NATS_MONITOR_URL to where the monitoring of that one answers."
            )
        if server.jetstream.config is None or not server.jetstream.config.sync_always:
            found = NotDurable()
            raise found if self._production else HealthWarning(str(found))

    async def check_nats_clock(self) -> None:
        """Raise `HealthWarning` when NATS's clock and this machine's are further apart than a second."""
        if self._monitor_url:
            await _compare("NATS", self._nats_time)

    async def check_database_clock(self) -> None:
        """Raise `HealthWarning` when PostgreSQL's clock and this machine's are further apart than a second."""
        if self._database_time is not None:
            await _compare("PostgreSQL", self._database_time)

    async def before_start(self) -> None:
        """Raise `NotDurable` when NATS is there already and says so, in production."""
        if self._production:
            with suppress(HealthWarning):  # `look` says it, once NATS is connected
                await self.check_sync()

    async def look(self) -> None:
        """Log everything that is wrong, once NATS is connected; end the process where it must not work."""
        for name, check in self.checks().items():
            try:
                async with asyncio.timeout(_LOOK_DEADLINE):
                    await check()
            except HealthWarning as found:
                log.warning(str(found), check=name)
            except CannotStart as found:
                log.critical(str(found), check=name)
                os.kill(os.getpid(), signal.SIGTERM)  # an error here would not end the process: its HTTP side is up
            except Exception as error:  # noqa: BLE001 - a look harms nobody
                log.warning("this cannot be told now", check=name, reason=str(error) or type(error).__name__)

    async def _server(self) -> _Server:
        try:
            return await asyncio.to_thread(_read, f"{self._monitor_url}/varz")
        except (OSError, ValueError) as error:
            raise HealthWarning(
                f"NATS's monitoring does not answer at {self._monitor_url} ({error}): "
                "set NATS_MONITOR_URL to where it does, and `http_port` in the server's configuration."
            ) from error

    async def _nats_time(self) -> datetime:
        return (await self._server()).now


def _read(url: str) -> _Server:
    if not url.startswith(("http://", "https://")):
        raise ValueError("it is no address of the form http://host:port")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # it is never behind a proxy
    with opener.open(url, timeout=_DEADLINE) as answer:
        return _Server.model_validate(json.load(answer))


async def _compare(whose: str, ask: Clock) -> None:
    before = time.time()
    found = await ask()
    after = time.time()
    # It was read at some moment between the two, and is at least so far off.
    ahead = max(0.0, found.timestamp() - after) - max(0.0, before - found.timestamp())
    if abs(ahead) > _APART:
        direction = "ahead of" if ahead > 0 else "behind"
        raise HealthWarning(
            f"{whose}'s clock is {abs(ahead):.1f} s {direction} this machine's ({datetime.now(UTC):%H:%M:%S} UTC): "
            "let both follow the same time servers (NTP)."
        )
