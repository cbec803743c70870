"""What one `mkstore up` consists of: its own servers or those that the environment names, and the services on them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mkstore import permissions
from mkstore.stack import ports
from mkstore.stack.reaper import mark
from mkstore.stack.servers import Login, NatsServer, PostgresServer
from mkstore.stack.service_process import DatabaseLogin, ServiceProcess, ServiceSpec, service_environment
from mkstore.stack.state_dir import StateDir

PortMapper = Callable[[str, str, int], int]
"""Given a service, `nats` or `postgres` and that server's port, returns the port at which the service shall find it."""


def identity(service: str, server: str, port: int) -> int:  # noqa: ARG001 - the form of a detour
    """Let every service go straight to the server."""
    return port


@dataclass(frozen=True)
class Options:
    """What the operator asked for; a `port` of 0 is any free one, no `home` is the default one."""

    port: int
    home: Path | None
    ephemeral: bool
    workers: int
    nice: int = 4


@dataclass(frozen=True)
class Plan:
    """The parts of one run and the addresses between them; a server that somebody else runs is None here."""

    nats: NatsServer | None
    postgres: PostgresServer | None
    services: Sequence[ServiceProcess]
    environments: Mapping[str, Mapping[str, str]]
    nats_url: str
    admin_url: str
    monitor_url: str
    database: DatabaseLogin

    @property
    def postgres_url(self) -> str:
        """The maintenance database, with the login that the services have too."""
        return self.database.url_of("postgres")

    @property
    def servers(self) -> list[NatsServer | PostgresServer]:
        """The servers that this run starts."""
        return [server for server in (self.nats, self.postgres) if server is not None]

    @property
    def gateway(self) -> ServiceProcess:
        """The service that people talk to: the last."""
        return self.services[-1]

    def record(self) -> dict[str, dict[str, object]]:
        """Return what the run file says."""
        record: dict[str, dict[str, object]] = {}
        for service in (self.gateway, *self.services[:-1]):
            record[service.name] = {"pid": _pid(service), "url": service.url}
            if service.workers > 1:
                record[service.name]["pids"] = service.worker_pids()
        record["nats"] = {"pid": _pid(self.nats), "url": self.nats_url, "admin_url": self.admin_url}
        record["nats"]["monitor_url"] = self.monitor_url or None
        record["postgres"] = {"pid": _pid(self.postgres), "url": self.postgres_url}
        return record


def planned(
    options: Options,
    specs: Sequence[ServiceSpec],
    home: StateDir,
    environ: Mapping[str, str],
    detour: PortMapper = identity,
) -> Plan:
    """Return the plan for a home; nothing runs yet. `NATS_URL` and `DB_HOST` in `environ` name others' servers.

    `detour` says how the services get to servers of this run's own.
    """
    secrets = home.secrets()
    nats = None if environ.get("NATS_URL") else _own_nats(home, secrets, specs)
    postgres = None if environ.get("DB_HOST") else _own_postgres(home, secrets)
    nats_url = nats.url if nats else environ["NATS_URL"]
    monitor_url = nats.monitor_url if nats else environ.get("NATS_MONITOR_URL", "")
    if postgres is not None:
        database = DatabaseLogin(ports.LOOPBACK, str(postgres.port), postgres.user, postgres.password)
    else:
        user, password = environ.get("DB_USER") or "postgres", environ.get("DB_PASSWORD", "")
        database = DatabaseLogin(environ["DB_HOST"], environ.get("DB_PORT") or "5432", user, password)
    jwt_secret = environ.get("JWT_SECRET") or secrets["jwt_secret"]

    gateway_port = options.port or ports.free_port()
    environ = {"ASYNCAPI_URL": f"http://{ports.LOOPBACK}:{gateway_port}/asyncapi", **environ}
    services, environments = [], {}
    for spec in specs:
        to_nats = nats.url_as(spec.name, detour(spec.name, "nats", nats.port)) if nats else nats_url
        to_database = database
        if postgres is not None and spec.database is not None:
            to_database = replace(database, port=str(detour(spec.name, "postgres", postgres.port)))
        env = service_environment(
            spec, environ, nats_url=to_nats, monitor_url=monitor_url, database=to_database, jwt_secret=jwt_secret
        )
        if spec is specs[-1] and nats:
            env.setdefault("LIVE_NATS_URL", nats.admin_url)
        port = gateway_port if spec is specs[-1] else ports.free_port()
        log = home.log(spec.name)
        service = ServiceProcess(spec, env=env, port=port, workers=options.workers, nice=options.nice, log=log)
        service.mark = mark(spec.name, home.root)
        services.append(service)
        environments[spec.name] = service.marked(env)
    admin_url = nats.admin_url if nats else nats_url
    return Plan(nats, postgres, services, environments, nats_url, admin_url, monitor_url, database)


def _own_nats(home: StateDir, secrets: Mapping[str, str], specs: Sequence[ServiceSpec]) -> NatsServer:
    guest, operator = Login("services", secrets["nats_services"]), Login("operator", secrets["nats_operator"])
    own = [Login(spec.name, secrets[f"nats_{spec.name}"], permissions.documented(spec.name)) for spec in specs]
    server = NatsServer(home.data / "nats", services=guest, operator=operator, others=own, log=home.log("nats"))
    server.mark = mark(server.name, home.root)
    return server


def _own_postgres(home: StateDir, secrets: Mapping[str, str]) -> PostgresServer:
    server = PostgresServer(home.data / "postgres", password=secrets["postgres"], log=home.log("postgres"))
    server.mark = mark(server.name, home.root)
    return server


def _pid(part: NatsServer | PostgresServer | ServiceProcess | None) -> int | None:
    return part.process.pid if part is not None and part.process is not None else None
