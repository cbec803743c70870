"""The servers that a run starts itself: NATS and PostgreSQL, one of each or a cluster."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from contracts.shards import Shards
from kit.runtime.tls_settings import NATS_FILES
from mkstore import nats_accounts, rights
from mkstore.services import ServiceSpec
from mkstore.stack import ports
from mkstore.stack.reaper import mark
from mkstore.stack.servers import Login, NatsServer, PostgresServer, ServerTls
from mkstore.stack.servers.nats_cluster import RouteMapper, cluster_of
from mkstore.stack.servers.postgres_pair import pair_of
from mkstore.stack.state_dir import StateDir


class Certificates:
    """The certificates of a run's own NATS server, in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def of_client(self, name: str) -> dict[str, str]:
        """Return the variables of a service, or of the operator."""
        return dict(zip(NATS_FILES, map(str, self._files(name)), strict=True))

    def of_server(self) -> ServerTls:
        """Return the server's files."""
        ca, cert, key = self._files("nats")
        return ServerTls(cert, key, ca)

    def _files(self, name: str) -> tuple[Path, Path, Path]:
        return self.folder / "ca.crt", self.folder / f"{name}.crt", self.folder / f"{name}.key"


def own_nats(
    state: StateDir,
    secrets: Mapping[str, str],
    specs: Sequence[ServiceSpec],
    certificates: Certificates | None,
    *,
    cluster: bool,
    map_route: RouteMapper | None,
) -> Sequence[NatsServer]:
    """Return the NATS server of a run, or the nodes of a cluster, each of whose routes `map_route` may redirect."""
    shards = Shards(max(spec.shard.count for spec in specs))
    every = rights.every(list(dict.fromkeys(spec.service for spec in specs)), shards)
    logins: dict[str, Any] = {
        "services": Login("services", secrets["nats_services"]),
        "operator": Login("operator", secrets["nats_operator"]),
        "others": [Login.of(each, secrets[f"nats_{each.login}"]) for each in every],
        "sharing": nats_accounts.sharing(every),
        "tls": certificates.of_server() if certificates else None,
    }
    servers: Sequence[NatsServer]
    if cluster:
        password = secrets["nats_routes"]
        servers = cluster_of(state.data, password=password, log=state.log, options=logins, map_route=map_route)
    else:
        servers = [NatsServer(state.data / "nats", log=state.log("nats"), **logins)]
    for server in servers:
        server.mark = mark(server.name, state.root)
    return servers


def own_postgres(state: StateDir, secrets: Mapping[str, str], *, cluster: bool) -> Sequence[PostgresServer]:
    """Return the PostgreSQL of a run, of a cluster the first primary and its standby."""
    password = secrets["postgres"]
    servers: Sequence[PostgresServer]
    if cluster:
        servers = pair_of(state.data, password=password, log=state.log)
    else:
        servers = [PostgresServer(state.data / "postgres", password=password, log=state.log("postgres"))]
    for server in servers:
        server.mark = mark(server.name, state.root)
    return servers


def hosts(every: Sequence[int]) -> tuple[str, str]:
    """Return DB_HOST and DB_PORT for servers at these ports of the loopback."""
    return ",".join([ports.LOOPBACK] * len(every)), ",".join(map(str, every))
