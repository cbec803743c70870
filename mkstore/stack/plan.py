"""The processes of one `mkstore up`: its own servers, unless the environment names others, and the services."""

import secrets as tokens
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from contracts.logins import IMPORTED_API, WATCHER
from kit.runtime.tls_settings import NATS_FILES
from mkstore import nats_accounts, rights
from mkstore.services import ServiceSpec
from mkstore.stack import ports
from mkstore.stack.processes import CORES
from mkstore.stack.reaper import mark
from mkstore.stack.servers import Login, NatsServer, PostgresServer, ServerTls
from mkstore.stack.servers.nats_cluster import NODES, cluster_of
from mkstore.stack.service_process import DatabaseLogin, ServiceProcess, service_environment
from mkstore.stack.state_dir import StateDir

_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
"""OpenTelemetry's variable for the base URL of a receiver of traces."""
_EXPORT_DELAY = "1000"
"""Milliseconds between two exports of spans; OpenTelemetry's default of 5 s is long for a person who waits."""

_CLUSTER_WORKERS = 2
"""Processes of each service in a cluster: the second one works on when the first has died."""

PortMapper = Callable[[str, str, int], int]
"""Takes a service's name, a server's name such as `nats`, and its port; returns the port that the service uses.

In a cluster also two names of NATS nodes and the second one's cluster port; returns where the first one connects."""


def identity(service: str, server: str, port: int) -> int:  # noqa: ARG001 - a PortMapper
    """Connect every service directly to the server."""
    return port


@dataclass(frozen=True)
class Options:
    """The options of `mkstore up`: port 0 is any free port, a `home` of None the default state folder.

    `workers` of None is a number of processes that fits the cores, `services` of None every service.
    A change below one of the folders in `reload` restarts the services. With `cluster`, no server is alone, and no
    process of a service. With `tls` its own NATS servers are encrypted.
    """

    port: int
    home: Path | None
    ephemeral: bool
    workers: int | None
    services: frozenset[str] | None = None
    reload: tuple[Path, ...] = ()
    cluster: bool = False
    tls: bool = False

    def starts(self, service: str) -> bool:
        """Return whether this run starts a service; another one may run elsewhere, such as in an editor."""
        return self.services is None or service in self.services


@dataclass(frozen=True)
class TraceAddress:
    """Where this run receives traces; `token` is new at each start, and begins every path."""

    port: int
    token: str = field(repr=False)

    @property
    def url(self) -> str:
        """Base URL of the receiver, for exporters by OTLP and for readers."""
        return f"http://{ports.LOOPBACK}:{self.port}/{self.token}"


@dataclass(frozen=True)
class Plan:
    """The processes of one run and their addresses; of servers that this run does not start it has none.

    `environments` has every service, also one that this run does not start; `database` is the login that creates
    databases. On its own server each service has a role of its database only.
    """

    nats: Sequence[NatsServer]
    postgres: PostgresServer | None
    services: Sequence[ServiceProcess]
    environments: Mapping[str, Mapping[str, str]] = field(repr=False)
    nats_url: str = field(repr=False)
    admin_url: str = field(repr=False)
    monitor_url: str
    database: DatabaseLogin
    traces: TraceAddress | None = None
    admin_security: Mapping[str, str] = field(default_factory=dict)
    """The variables of TLS and of a login in a file (`NATS_CA` and others) that belong to `admin_url`."""

    @property
    def postgres_url(self) -> str:
        """Address of the maintenance database, with the superuser's login or that of the environment."""
        return self.database.url_of("postgres")

    @property
    def servers(self) -> list[NatsServer | PostgresServer]:
        """The servers that this run starts."""
        return [*self.nats, *([] if self.postgres is None else [self.postgres])]

    @property
    def gateway(self) -> ServiceProcess | None:
        """The service that serves HTTP, the last one, if this run starts it."""
        last = list(self.environments)[-1]
        return next((service for service in self.services if service.name == last), None)

    @property
    def behind_gateway(self) -> list[ServiceProcess]:
        """The other services that this run starts."""
        return [service for service in self.services if service is not self.gateway]

    def record(self) -> dict[str, dict[str, object]]:
        """Return the content of the run file: pid and addresses of each process, by name."""
        record: dict[str, dict[str, object]] = {}
        for service in (*([self.gateway] if self.gateway else []), *self.behind_gateway):
            record[service.name] = {"pid": _pid(service), "url": service.url}
            if service.workers > 1:
                record[service.name]["pids"] = service.worker_pids()
        first = self.nats[0] if self.nats else None
        record["nats"] = {"pid": _pid(first), "url": self.nats_url, "admin_url": self.admin_url}
        record["nats"]["monitor_url"] = self.monitor_url or None
        if len(self.nats) > 1:
            record["nats"]["nodes"] = [
                {"name": node.name, "pid": _pid(node), "url": node.address, "monitor_url": node.monitor_url}
                for node in self.nats
            ]
        if self.admin_security:
            record["nats"]["security"] = dict(self.admin_security)
        record["postgres"] = {"pid": _pid(self.postgres), "url": self.postgres_url}
        return record


def make_plan(
    options: Options,
    specs: Sequence[ServiceSpec],
    state: StateDir,
    environ: Mapping[str, str],
    *,
    niceness: int,
    map_port: PortMapper = identity,
    cores: int = CORES,
) -> Plan:
    """Return the plan of a run; starts nothing.

    `NATS_URL` and `DB_HOST` in `environ` name servers that already run, `OTEL_EXPORTER_OTLP_ENDPOINT` a receiver of
    traces, and `OTEL_SDK_DISABLED=true` switches traces off. `niceness` is the nice value of a ready service.
    `map_port` redirects connections of the services to servers of this run.
    """
    owners = [spec.name for spec in specs if spec.database is not None]
    secrets = state.secrets([*(spec.name for spec in specs), WATCHER], owners)
    certificates = _Certificates(state.root / "certs") if options.tls else None
    nats = [] if environ.get("NATS_URL") else _own_nats(state, secrets, specs, options, map_port, certificates)
    postgres = None if environ.get("DB_HOST") else _own_postgres(state, secrets)
    nats_url = ",".join(node.url for node in nats) or environ["NATS_URL"]
    monitor_url = ",".join(node.monitor_url for node in nats) or environ.get("NATS_MONITOR_URL", "")
    if postgres is not None:
        database = DatabaseLogin(ports.LOOPBACK, str(postgres.port), postgres.user, postgres.password)
    else:
        database = DatabaseLogin.in_environment(environ)
    jwt_secret = environ.get("JWT_SECRET") or secrets["jwt_secret"]

    gateway_port = options.port or ports.free_port()
    environ = {"ASYNCAPI_URL": f"http://{ports.LOOPBACK}:{gateway_port}/asyncapi", **defaults(options), **environ}
    traces = _own_traces(environ)
    if traces is not None:
        environ = {"OTEL_BSP_SCHEDULE_DELAY": _EXPORT_DELAY, **environ, _ENDPOINT: traces.url}

    def security(client: str) -> dict[str, str]:
        if not nats:
            return {name: environ[name] for name in (*NATS_FILES, "NATS_CREDS") if environ.get(name)}
        return certificates.of_client(client) if certificates else {}

    services, environments = [], {}
    for spec in specs:
        to_nats = ",".join(node.url_as(spec.name, map_port(spec.name, node.name, node.port)) for node in nats)
        to_database = database
        if postgres is not None and spec.database is not None:
            mapped, password = str(map_port(spec.name, "postgres", postgres.port)), secrets[f"postgres_{spec.name}"]
            to_database = replace(database, port=mapped, user=spec.name, password=password)
        env = service_environment(
            spec,
            environ,
            nats_url=to_nats or nats_url,
            nats_security=security(spec.name),
            api_prefix=IMPORTED_API if nats else None,
            monitor_url=monitor_url,
            database=to_database,
            jwt_secret=jwt_secret,
        )
        if spec is specs[-1] and nats:
            env.setdefault("LIVE_NATS_URL", ",".join(node.url_as(WATCHER, node.port) for node in nats))
        if spec is specs[-1] and traces:
            env.setdefault("TRACES_URL", traces.url)
        port = gateway_port if spec is specs[-1] else ports.free_port()
        log = state.log(spec.name)
        workers = options.workers or max(spec.processes_on(cores), _CLUSTER_WORKERS if options.cluster else 1)
        service = ServiceProcess(spec, env=env, port=port, workers=workers, niceness=niceness, log=log)
        service.mark = mark(spec.name, state.root)
        if options.starts(spec.name):
            services.append(service)
        environments[spec.name] = service.marked(env)
    admin_url = ",".join(node.admin_url for node in nats) or nats_url
    plan = Plan(nats, postgres, services, environments, nats_url, admin_url, monitor_url, database, traces)
    return replace(plan, admin_security=security("operator"))


def defaults(options: Options) -> dict[str, str]:
    """Return the variables that the services and the provisioning have unless the environment has others."""
    return {"STREAM_REPLICAS": str(NODES)} if options.cluster else {}


def _own_traces(environ: Mapping[str, str]) -> TraceAddress | None:
    """Return the address of the receiver; None if the environment names another one, or has traces switched off."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true" or environ.get(_ENDPOINT):
        return None
    return TraceAddress(ports.free_port(), tokens.token_urlsafe(32))


class _Certificates:
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


def _own_nats(
    state: StateDir,
    secrets: Mapping[str, str],
    specs: Sequence[ServiceSpec],
    options: Options,
    map_port: PortMapper,
    certificates: _Certificates | None,
) -> Sequence[NatsServer]:
    every = rights.every([spec.name for spec in specs])
    logins: dict[str, Any] = {
        "services": Login("services", secrets["nats_services"]),
        "operator": Login("operator", secrets["nats_operator"]),
        "others": [Login.of(each, secrets[f"nats_{each.login}"]) for each in every],
        "sharing": nats_accounts.sharing(every),
        "tls": certificates.of_server() if certificates else None,
    }
    servers: Sequence[NatsServer]
    if options.cluster:
        mapped = None if map_port is identity else map_port
        password = secrets["nats_routes"]
        servers = cluster_of(state.data, password=password, log=state.log, options=logins, map_route=mapped)
    else:
        servers = [NatsServer(state.data / "nats", log=state.log("nats"), **logins)]
    for server in servers:
        server.mark = mark(server.name, state.root)
    return servers


def _own_postgres(state: StateDir, secrets: Mapping[str, str]) -> PostgresServer:
    server = PostgresServer(state.data / "postgres", password=secrets["postgres"], log=state.log("postgres"))
    server.mark = mark(server.name, state.root)
    return server


def _pid(managed: NatsServer | PostgresServer | ServiceProcess | None) -> int | None:
    return managed.process.pid if managed is not None and managed.process is not None else None
