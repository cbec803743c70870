"""Addresses: free ports on the loopback interface, and URLs as people may see them."""

import random
import socket
import sys
from collections.abc import Callable
from pathlib import Path

LOOPBACK = "127.0.0.1"
_LOWEST = 10_000
_USUAL_EPHEMERAL = 32_768
_TRIES = 200
_reserved: set[int] = set()
"""Ports that this process has returned: their servers may not listen yet."""


def obstacle(port: int, host: str = LOOPBACK) -> OSError | None:
    """Return why a server could not listen on `host:port` now; None if it could. `PermissionError`: no right to."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError as error:
            return error
        return None


def free_port(draw: Callable[[int, int], int] = random.randrange) -> int:
    """Return a free port on the loopback, among those that `draw` returns, and reserve it for this process.

    A server may listen on it seconds later. Until this process ends, no other call returns the port; outside of Linux
    only calls of this process are considered.

    It is below the ephemeral range. While a server restarts, any outgoing connection of this machine can take a port
    in that range: even the client that tries to reach the server, which then is connected to itself.

    Raises `OSError` if 200 random ports are in use.
    """
    first_ephemeral = _first_ephemeral()
    for _ in range(_TRIES):
        port = draw(_LOWEST, first_ephemeral)
        if port not in _reserved and _reserve(port):
            return port
    raise OSError(f"no free port found between {_LOWEST} and {first_ephemeral}")


def _reserve(port: int) -> bool:
    """Bind a socket to `port` that does not listen; return False if the port is in use or reserved."""
    reserving = socket.socket()
    try:
        reserving.bind((LOOPBACK, port))  # without SO_REUSEADDR this fails beside any other socket
    except OSError:
        reserving.close()
        return False
    if sys.platform == "linux":
        # Two sockets with this option may share a port if at most one listens: a server can, a reservation cannot.
        reserving.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserving.detach()  # its descriptor stays open until the process ends
    else:
        reserving.close()
    _reserved.add(port)
    return True


def _first_ephemeral() -> int:
    try:
        first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return _USUAL_EPHEMERAL
    return first if first > _LOWEST + _TRIES else _USUAL_EPHEMERAL


def without_login(url: str) -> str:
    """Return a URL, or several with commas between them, without users and passwords."""
    return ",".join(map(_without_login, url.split(",")))


def _without_login(url: str) -> str:
    scheme, separator, rest = url.partition("://") if "://" in url else ("", "", url)
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"
