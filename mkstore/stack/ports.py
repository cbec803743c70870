"""Free ports on the loopback interface."""

import random
import socket
from collections.abc import Callable
from pathlib import Path

LOOPBACK = "127.0.0.1"
_LOWEST = 10_000
_USUAL_EPHEMERAL = 32_768
_TRIES = 200
_given: set[int] = set()
"""Ports that were returned before: their owner may not listen yet."""


def is_free(port: int, host: str = LOOPBACK) -> bool:
    """Return whether a server could listen on `host:port` now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError:
            return False
        return True


def free_port(draw: Callable[[int, int], int] = random.randrange) -> int:
    """Return a free port on the loopback that this process has not returned before, among those that `draw` returns.

    It is below the ephemeral range. While a server restarts, any outgoing connection of this machine can take a port
    in that range: even the client that tries to reach the server, which then is connected to itself.

    Raises `OSError` if 200 random ports are in use.
    """
    first_ephemeral = _first_ephemeral()
    for _ in range(_TRIES):
        port = draw(_LOWEST, first_ephemeral)
        if port not in _given and is_free(port):
            _given.add(port)
            return port
    raise OSError(f"no free port found between {_LOWEST} and {first_ephemeral}")


def _first_ephemeral() -> int:
    try:
        first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return _USUAL_EPHEMERAL
    return first if first > _LOWEST + _TRIES else _USUAL_EPHEMERAL
