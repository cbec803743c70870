"""The loss of the connection to NATS, and leaving a server that is alive and cut off from the others of its cluster.

The connection to such a server stays, and nothing is answered there: a client would wait until the network is back.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from nats.aio.client import Client
from nats.errors import Error as NatsError
from structlog.stdlib import get_logger

log = get_logger(__name__)

LOSSES = "losses"
"""The key in FastStream's context of the `Losses` of the broker."""

Callback = Callable[[], Awaitable[None]]

CHECK_INTERVAL = 1.0
"""Seconds between two looks, and at most for the answer to each."""
_RECONNECT_DELAY = 0.2
FAILURES = 2
"""Looks that fail one after the other before other servers are tried."""

Probe = Callable[[Client], Awaitable[object]]
"""Asks for what only the leaders of the streams know. Raises nats-py's errors if one cannot be reached."""
Connect = Callable[[str], Awaitable[Client]]
"""Connects to one server, for a probe. Raises nats-py's errors or `OSError`."""


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


async def leave_isolated_server(
    client: Client,
    servers: Sequence[str],
    probe: Probe,
    connect: Connect,
    *,
    interval: float = CHECK_INTERVAL,
    failures: int = FAILURES,
) -> None:
    """Let `client` reconnect to another of the `servers` when the probe fails at its own and succeeds there; endless.

    A probe that fails at every server means that a leader is being elected, and the client stays.
    """
    failed = 0
    while True:
        await asyncio.sleep(interval)
        if not client.is_connected:
            failed = 0
            continue
        failed = 0 if await _succeeds(probe, client, interval) else failed + 1
        if failed >= failures and await _any_succeeds(probe, connect, _others(client, servers), interval):
            log.warning("the NATS server is cut off from the others: another one is used", server=_address(client))
            await client.force_reconnect()
            failed = 0


def _others(client: Client, servers: Sequence[str]) -> list[str]:
    return [server for server in servers if not server.endswith(_address(client))]


def _address(client: Client) -> str:
    """Return the host and the port of the server that the client is connected to."""
    return client.connected_url.netloc.rpartition("@")[2] if client.connected_url else ""


async def _succeeds(probe: Probe, client: Client, timeout: float) -> bool:  # noqa: ASYNC109 - it returns False
    try:
        async with asyncio.timeout(timeout):
            await probe(client)
    except (NatsError, OSError):
        return False
    return True


async def _any_succeeds(probe: Probe, connect: Connect, servers: Sequence[str], timeout: float) -> bool:  # noqa: ASYNC109 - same
    for server in servers:
        try:
            async with asyncio.timeout(timeout):
                client = await connect(server)
        except (NatsError, OSError):
            continue
        try:
            if await _succeeds(probe, client, timeout):
                return True
        finally:
            await client.close()
    return False
