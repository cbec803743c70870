"""Durability checks that code cannot enforce: NATS syncs messages before it acknowledges them, and clocks agree."""

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
"""Returns the time of a server."""

_MIN_REPLICAS = 3
"""Replicas with which a message is on several servers before NATS acknowledges it."""
_MAX_CLOCK_SKEW = 1.0
"""Seconds."""
_MONITOR_TIMEOUT = 0.9
_CHECK_TIMEOUT = 2.0


class NotDurable(CannotStart):
    """NATS acknowledges messages that a power failure could still lose."""

    def __init__(self) -> None:
        super().__init__(
            "NATS acknowledges messages before they are synced to disk, so a power failure can lose them: "
            "set `sync_interval: always` in its jetstream block, or run three servers and set STREAM_REPLICAS=3."
        )


class _Config(BaseModel):
    sync_always: bool = False


class _JetStream(BaseModel):
    config: _Config | None = None


class _Server(BaseModel):
    """The part of nats-server's `/varz` that the checks read."""

    server_id: str
    now: datetime
    jetstream: _JetStream = _JetStream()
    cluster: Mapping[str, Any] = {}


class Durability:
    """Durability checks of NATS and PostgreSQL; each failure names its repair.

    nats-server does not tell its clients whether it syncs, so the check reads its monitoring endpoint at `monitor_url`.
    In `production`, a server that does not sync stops the process from starting; elsewhere it is a warning.
    `local_time` returns this machine's time as Unix seconds.
    """

    def __init__(
        self,
        broker: Broker,
        monitor_url: str,
        *,
        replicas: int,
        production: bool,
        database_time: Clock | None = None,
        local_time: Callable[[], float] = time.time,
    ) -> None:
        self._broker = broker
        self._monitor_url = monitor_url.rstrip("/")
        self._monitors = [url.strip().rstrip("/") for url in monitor_url.split(",")]
        self._replicas = replicas
        self._production = production
        self._database_time = database_time
        self._local_time = local_time

    @classmethod
    def of(cls, broker: Broker, settings: Settings, database_time: Clock | None = None) -> Self:
        """Create the checks from the settings of a service."""
        return cls(
            broker,
            settings.nats_monitor_url,
            replicas=settings.stream_replicas,
            production=settings.app_env == "production",
            database_time=database_time,
        )

    def checks(self) -> dict[str, Check]:
        """Return the checks by name; each raises `HealthWarning`, or `NotDurable` in production, if it fails."""
        checks: dict[str, Check] = {"nats-sync": self.check_sync, "nats-clock": self.check_nats_clock}
        return checks | ({"database-clock": self.check_database_clock} if self._database_time is not None else {})

    async def check_sync(self) -> str:
        """Check that NATS acknowledges a message only when it is on disk or on three servers; return which.

        Raises `NotDurable` in production and `HealthWarning` elsewhere if it does not, and `HealthWarning` if the
        monitoring endpoint does not say.
        """
        if self._replicas >= _MIN_REPLICAS:
            return f"NATS has each message on a majority of {self._replicas} servers before it acknowledges it."
        if not self._monitor_url:
            raise HealthWarning(
                "It is unknown whether NATS syncs messages before it acknowledges them: "
                "set NATS_MONITOR_URL to its monitoring endpoint, such as http://nats:8222."
            )
        server = await self._server()
        connected_to = self._broker.server_id()
        if connected_to and server.server_id != connected_to and not server.cluster:
            raise HealthWarning(
                f"The server at {self._monitor_url} is not the one at NATS_URL: "
                "set NATS_MONITOR_URL to the monitoring endpoint of that server."
            )
        if server.jetstream.config is None or not server.jetstream.config.sync_always:
            error = NotDurable()
            raise error if self._production else HealthWarning(str(error))
        return f"NATS syncs each message to disk before it acknowledges it; replicas: {self._replicas}."

    async def check_nats_clock(self) -> None:
        """Raise `HealthWarning` if the clock of NATS differs from this machine's by more than a second."""
        if self._monitor_url:
            await self._compare("NATS", self._nats_time)

    async def check_database_clock(self) -> None:
        """Raise `HealthWarning` if the clock of PostgreSQL differs from this machine's by more than a second."""
        if self._database_time is not None:
            await self._compare("PostgreSQL", self._database_time)

    async def before_start(self) -> None:
        """Raise `NotDurable` in production if NATS is already reachable and does not sync."""
        if self._production:
            with suppress(HealthWarning):  # `log_findings` logs it once NATS is connected
                await self.check_sync()

    async def log_findings(self) -> None:
        """Log every failed check once NATS is connected; end the process if it must not run."""
        for name, check in self.checks().items():
            try:
                async with asyncio.timeout(_CHECK_TIMEOUT):
                    await check()
            except HealthWarning as warning:
                log.warning(str(warning), check=name)
            except CannotStart as error:
                log.critical(str(error), check=name)
                os.kill(os.getpid(), signal.SIGTERM)  # an error here would not end the process: HTTP is already served
            except Exception as error:  # noqa: BLE001 - a failed check must not stop the process
                log.warning("durability check could not run", check=name, reason=str(error) or type(error).__name__)

    async def _server(self) -> _Server:
        """Return what one of the endpoints says; of several the first that replies."""
        reasons = []
        for url in self._monitors:
            try:
                return await asyncio.to_thread(_read, f"{url}/varz")
            except (OSError, ValueError) as error:
                reasons.append(str(error))
        raise HealthWarning(
            f"The monitoring endpoint of NATS does not reply at {self._monitor_url} ({', '.join(reasons)}): "
            "set NATS_MONITOR_URL to its address, and `http_port` in the server's configuration."
        )

    async def _nats_time(self) -> datetime:
        return (await self._server()).now

    async def _compare(self, server: str, clock: Clock) -> None:
        before = self._local_time()
        remote = (await clock()).timestamp()
        after = self._local_time()
        # The clock was read at some moment between the two, so it is off by at least this much.
        ahead = max(0.0, remote - after) - max(0.0, before - remote)
        if abs(ahead) > _MAX_CLOCK_SKEW:
            direction = "ahead of" if ahead > 0 else "behind"
            raise HealthWarning(
                f"The clock of {server} is {abs(ahead):.1f} s {direction} this machine's"
                f" ({datetime.fromtimestamp(after, UTC):%H:%M:%S} UTC): let both follow the same time servers (NTP)."
            )


def _read(url: str) -> _Server:
    if not url.startswith(("http://", "https://")):
        raise ValueError("the URL must have the form http://host:port")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # never through a proxy
    with opener.open(url, timeout=_MONITOR_TIMEOUT) as response:
        return _Server.model_validate(json.load(response))
