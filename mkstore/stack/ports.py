"""Ports on the loopback: picking free ones that stay free, and asking whether one is taken."""

import random
import socket
from pathlib import Path

LOOPBACK = "127.0.0.1"
_LOWEST = 10_000
_USUAL_EPHEMERAL = 32_768
_TRIES = 200
_given: set[int] = set()
"""What was handed out before: nobody may listen there yet, and it is somebody's all the same."""


def is_free(port: int, host: str = LOOPBACK) -> bool:
    """Tell whether a server could listen on `host:port` now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError:
            return False
        return True


def free_port() -> int:
    """Return a port on the loopback that nobody listens on or was given, below the range for outgoing connections.

    A port from inside that range can be taken, while its server is being started again, by any outgoing connection of
    this machine: even by the client that tries to reach it, which then talks to itself.

    Raises:
        OSError: after 200 random tries none was free.

    """
    below = _first_ephemeral()
    for _ in range(_TRIES):
        port = random.randrange(_LOWEST, below)  # noqa: S311 - spreads the choice, keeps no secret
        if port not in _given and is_free(port):
            _given.add(port)
            return port
    raise OSError(f"no free port found between {_LOWEST} and {below}")


def _first_ephemeral() -> int:
    try:
        first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return _USUAL_EPHEMERAL
    return first if first > _LOWEST + _TRIES else _USUAL_EPHEMERAL
