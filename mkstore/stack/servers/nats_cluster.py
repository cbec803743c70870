"""A nats-server that is one of three in a cluster: each stream has a replica on every one of them."""

import hashlib
import http.client
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mkstore.stack import ports
from mkstore.stack.servers.nats import NatsServer, health_of

NODES = 3
"""Servers of a cluster, and replicas of each stream."""
NAMES = tuple(f"nats-{number}" for number in range(1, NODES + 1))

_ROUTE_USER = "route"
_PROBE_TIMEOUT = 1.0

RouteMapper = Callable[[str, str, int], int]
"""Takes the names of two nodes and the second one's cluster port; returns the port at which the first connects."""


@dataclass(frozen=True)
class Routes:
    """How a node reaches the others: `port` is its own for them, `others` are theirs.

    With `advertises`, a node tells the others its address, so that they connect to it directly.
    """

    port: int
    others: Sequence[int]
    password: str = field(repr=False)
    advertises: bool = True

    def configuration(self) -> dict[str, object]:
        """Return the block `cluster` of the server's configuration."""
        block: dict[str, object] = {
            "name": "mkstore",
            "host": ports.LOOPBACK,
            "port": self.port,
            "authorization": {"user": _ROUTE_USER, "password": self.password},
            "routes": [f"nats-route://{_ROUTE_USER}:{self.password}@{ports.LOOPBACK}:{port}" for port in self.others],
            # Clients have the addresses of all nodes, each with its login.
            "no_advertise": True,
            "ping_interval": "2s",
            "ping_max": 2,
        }
        # Nobody listens at the discard port: the others connect by the routes of their configuration only.
        return block if self.advertises else block | {"advertise": f"{ports.LOOPBACK}:9"}


class NatsNode(NatsServer):
    """A nats-server that replicates its streams with the others in its `routes`; its name stays the same.

    It is ready once its streams have the messages that the others have; so the first start of all three needs two.
    """

    def __init__(self, name: str, folder: Path, *, routes: Routes, **options: Any) -> None:
        super().__init__(folder, **options)
        self.name = name
        self.routes = routes

    def new_server_name(self) -> str:
        """Return the name by which the cluster knows this node for good; others on this machine have other secrets."""
        return f"{self.name}-{hashlib.sha256(self.routes.password.encode()).hexdigest()[:8]}"

    def is_ready(self) -> bool:
        """Return whether this server is part of the cluster, and has what the leaders of its streams have."""
        return super().is_ready() and is_healthy(self.monitor_url)

    def configuration(self) -> dict[str, object]:
        """Return the server's configuration."""
        routes = self.routes.configuration()
        if self.tls:
            routes["tls"] = self.tls.configuration()
        return super().configuration() | {"cluster": routes}


def cluster_of(
    folder: Path,
    *,
    password: str,
    log: Callable[[str], Path],
    options: Mapping[str, Any],
    map_route: RouteMapper | None = None,
) -> list[NatsNode]:
    """Return the nodes of a cluster, each in its own folder inside `folder`; starts nothing.

    `password` is that of their routes, `options` are those of `NatsServer`. With `map_route` each route leads to the
    port that it returns.
    """
    cluster_ports = {name: ports.free_port() for name in NAMES}

    def routes_of(name: str) -> Routes:
        others = [(other, port) for other, port in cluster_ports.items() if other != name]
        mapped = [map_route(name, other, port) if map_route else port for other, port in others]
        return Routes(cluster_ports[name], mapped, password, advertises=map_route is None)

    return [NatsNode(name, folder / name, routes=routes_of(name), log=log(name), **options) for name in NAMES]


def is_healthy(monitor_url: str) -> bool:
    """Return whether a server works and its streams have what the others have."""
    return health_of(monitor_url)[0] == http.HTTPStatus.OK


def meta_leader(monitor_url: str) -> str:
    """Return the server name of the node that leads the cluster, as the node at `monitor_url` sees it; empty if none.

    Raises `OSError` if that node does not answer.
    """
    connection = http.client.HTTPConnection(monitor_url.partition("://")[2], timeout=_PROBE_TIMEOUT)
    try:
        connection.request("GET", "/jsz")
        return str(json.load(connection.getresponse()).get("meta_cluster", {}).get("leader") or "")
    finally:
        connection.close()
