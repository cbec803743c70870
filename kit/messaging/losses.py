"""The loss of the connection to NATS, and leaving a server that is alive and cut off from the others of its cluster.

The connection to such a server stays, and its streams take no message: a client would wait until the network is back.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from nats.aio.client import Client
from nats.js.api import StreamInfo
from structlog.stdlib import get_logger

from kit.runtime.periodic import Periodic

log = get_logger(__name__)

LOSSES = "losses"
"""The key in FastStream's context of the `Losses` of the broker."""

Callback = Callable[[], Awaitable[None]]

_CHECK_INTERVAL = 1.0
"""Seconds between two looks, and at most for the answer to each."""
_SILENCE = 3_000_000_000
"""Nanoseconds without a reply after which a leader has lost a replica; replicas answer each second."""
_OTHER_TIMEOUT = 2.0
"""Seconds for the connection to another server, and for its answer."""
_RECONNECT_DELAY = 0.2
_FAILURES = 2
"""Looks that fail one after the other before other servers are tried."""

Probe = Callable[[Client], Awaitable[object]]
"""Asks for what only the leaders of the streams know. Raises an error if one cannot be reached."""
Connect = Callable[[str], Awaitable[Client]]
"""Connects to one server, for a probe. Raises an error if that fails."""


class NoQuorum(Exception):
    """A stream has no leader that most of its replicas follow."""


def require_quorum(info: StreamInfo) -> None:
    """Raise `NoQuorum` unless the stream has a leader with replies of most of its replicas.

    Without this check a server that is cut off passes the probe (nats-server 2.15.1): for 16 s its leaders answer as
    before, and then it answers for a stream without a leader.
    """
    if (cluster := info.cluster) is None:
        return
    replicas = cluster.replicas or ()
    active = sum(not replica.offline and (replica.active or 0) < _SILENCE for replica in replicas)
    if not cluster.leader or 2 * active < len(replicas):
        raise NoQuorum(info.config.name)


class Losses:
    """Losses of one client's connection."""

    def __init__(self) -> None:
        self._callbacks: list[Callback] = []

    @contextmanager
    def followed_by(self, callback: Callback) -> Iterator[None]:
        """Call `callback` after each loss until the end of the block."""
        self._callbacks.append(callback)
        try:
            yield
        finally:
            self._callbacks.remove(callback)

    async def occurred(self) -> None:
        """Call every callback; the client connects again only after that."""
        for callback in tuple(self._callbacks):
            await callback()


def another_server(servers: Sequence[Any], info: dict[str, Any]) -> tuple[Any, float]:
    """Return the server to connect to after a loss, and the seconds to wait before.

    nats-py itself takes any, also the one that was just left. Of those that were tried least it is one other than that
    of `info`, if there is one.
    """
    last = f"{info.get('host')}:{info.get('port')}"
    others = [server for server in servers if server.uri.netloc.rpartition("@")[2] != last] or list(servers)
    fewest = min(server.reconnects for server in others)
    return random.choice([server for server in others if server.reconnects == fewest]), _RECONNECT_DELAY  # noqa: S311


class IsolationWatch:
    """Lets a client leave a server that is cut off: when the probe fails at its own and succeeds at another one.

    A probe that fails at every server means that a leader is being elected, and the client stays.
    """

    def __init__(
        self,
        client: Client,
        servers: Sequence[str],
        probe: Probe,
        connect: Connect,
    ) -> None:
        self._client = client
        self._servers = servers
        self._probe = probe
        self._connect = connect
        self._failures = 0
        failure = "other NATS servers cannot be tried"
        self._watching = Periodic(self._look, _CHECK_INTERVAL, log=log, failure=failure, at_once=False)

    async def start(self) -> None:
        """Start probing in the background."""
        await self._watching.start()

    async def stop(self) -> None:
        """Stop probing."""
        await self._watching.stop()

    async def _look(self) -> None:
        """Probe the client's server once."""
        if not self._client.is_connected or await self._succeeds(self._client, _CHECK_INTERVAL):
            self._failures = 0
            return
        self._failures += 1
        if self._failures >= _FAILURES and await self._any_other_succeeds():
            log.warning("the NATS server is cut off from the others: another one is used", server=self._address)
            self._failures = 0
            await self._client.force_reconnect()

    @property
    def _address(self) -> str:
        """The host and the port of the server that the client is connected to."""
        url = self._client.connected_url
        return url.netloc.rpartition("@")[2] if url else ""

    async def _succeeds(self, client: Client, timeout: float) -> bool:  # noqa: ASYNC109 - it returns False
        try:
            async with asyncio.timeout(timeout):
                await self._probe(client)
        except Exception:  # noqa: BLE001 - no answer, for whatever reason: also uvloop's RuntimeError for a lost socket
            return False
        return True

    async def _any_other_succeeds(self) -> bool:
        address = self._address
        for server in self._servers:
            if not server.endswith(address) and await self._succeeds_at(server):
                return True
        return False

    async def _succeeds_at(self, server: str) -> bool:
        try:
            async with asyncio.timeout(_OTHER_TIMEOUT):
                client = await self._connect(server)
        except Exception:  # noqa: BLE001 - same reason
            return False
        try:
            return await self._succeeds(client, _OTHER_TIMEOUT)
        finally:
            with suppress(Exception):
                await client.close()
