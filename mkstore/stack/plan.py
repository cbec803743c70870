"""The processes of one `mkstore up`: its own servers, unless the environment names others, and the services."""

import secrets as tokens
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from contracts.logins import IMPORTED_API, WATCHER
from kit.runtime.tls_settings import NATS_FILES
from mkstore.services import ServiceSpec
from mkstore.stack import ports
from mkstore.stack.own_servers import Certificates, hosts, own_nats, own_postgres
from mkstore.stack.processes import CORES
from mkstore.stack.reaper import mark
from mkstore.stack.servers import NatsServer, PostgresServer
from mkstore.stack.servers.nats_cluster import NODES
from mkstore.stack.servers.postgres_pair import PostgresNode
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
    process of a service. With `tls` its own NATS servers are encrypted. The payments have `shards` shards.
    """

    port: int
    home: Path | None
    ephemeral: bool
    workers: int | None
    services: frozenset[str] | None = None
    reload: tuple[Path, ...] = ()
    cluster: bool = False
    tls: bool = False
    shards: int = 1

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
    postgres: Sequence[PostgresServer]
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
        return [*self.nats, *self.postgres]

    @property
    def pair(self) -> Sequence[PostgresNode]:
        """The primary and the standby of a cluster; none otherwise."""
        return [node for node in self.postgres if isinstance(node, PostgresNode)]

    @property
    def primary(self) -> PostgresServer | None:
        """The PostgreSQL that accepts writes, if this run starts it."""
        return next((node for node in self.pair if node.is_primary), self.postgres[0] if self.postgres else None)

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
        primary = self.primary
        record["postgres"] = {"pid": _pid(primary), "url": primary.url if primary else self.postgres_url}
        if self.pair:
            record["postgres"]["nodes"] = [
                {"name": node.name, "pid": _pid(node), "url": node.address, "primary": node is primary}
                for node in self.pair
            ]
            record["postgres"]["copies"] = str(self.pair[0].copies.folder)
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
    owners = list(dict.fromkeys(spec.service for spec in specs if spec.database is not None))
    secrets = state.secrets([*dict.fromkeys(spec.service for spec in specs), WATCHER], owners)
    certificates = Certificates(state.root / "certs") if options.tls else None
    nats: Sequence[NatsServer] = []
    if not environ.get("NATS_URL"):
        map_route = None if map_port is identity else map_port
        nats = own_nats(state, secrets, specs, certificates, cluster=options.cluster, map_route=map_route)
    postgres = [] if environ.get("DB_HOST") else own_postgres(state, secrets, cluster=options.cluster)
    nats_url = ",".join(node.url for node in nats) or environ["NATS_URL"]
    monitor_url = ",".join(node.monitor_url for node in nats) or environ.get("NATS_MONITOR_URL", "")
    database = _administrator(postgres) or DatabaseLogin.in_environment(environ)
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
        to_nats = ",".join(node.url_as(spec.service, map_port(spec.name, node.name, node.port)) for node in nats)
        to_database = database
        if postgres and spec.database is not None:
            host, mapped = hosts([map_port(spec.name, node.name, node.port) for node in postgres])
            password = secrets[f"postgres_{spec.service}"]
            to_database = DatabaseLogin(host, mapped, spec.service, password)
        env = service_environment(
            spec,
            environ,
            nats_url=to_nats or nats_url,
            nats_security=security(spec.service),
            api_prefix=IMPORTED_API if nats else None,
            monitor_url=monitor_url,
            database=to_database,
            jwt_secret=jwt_secret,
            shards=options.shards,
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
        if options.starts(spec.service):
            services.append(service)
        environments[spec.name] = service.marked(env)
    admin_url = ",".join(node.admin_url for node in nats) or nats_url
    plan = Plan(nats, postgres, services, environments, nats_url, admin_url, monitor_url, database, traces)
    return replace(plan, admin_security=security("operator"))


def _administrator(postgres: Sequence[PostgresServer]) -> DatabaseLogin | None:
    """Return the superuser's login on the run's own servers, if it has some."""
    if not postgres:
        return None
    return DatabaseLogin(*hosts([node.port for node in postgres]), postgres[0].user, postgres[0].password)


def defaults(options: Options) -> dict[str, str]:
    """Return the variables that the services and the provisioning have unless the environment has others."""
    return {"STREAM_REPLICAS": str(NODES), "DB_COPIES": "2"} if options.cluster else {}


def _own_traces(environ: Mapping[str, str]) -> TraceAddress | None:
    """Return the address of the receiver; None if the environment names another one, or has traces switched off."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true" or environ.get(_ENDPOINT):
        return None
    return TraceAddress(ports.free_port(), tokens.token_urlsafe(32))


def _pid(managed: NatsServer | PostgresServer | ServiceProcess | None) -> int | None:
    return managed.process.pid if managed is not None and managed.process is not None else None
