"""A service as a managed process: its environment, its command and its readiness."""

import http.client
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import psutil

from kit.connection import address, ssl_parameters
from kit.runtime.tls_settings import DATABASE_FILES, NATS_FILES
from mkstore.services import ServiceSpec
from mkstore.stack import ports, processes
from mkstore.stack.managed_process import ManagedProcess

_PROBE_TIMEOUT = 2.0
_DATABASE_TLS = ("DB_SSLMODE", *DATABASE_FILES)

_SHARED_METRICS = "PROMETHEUS_MULTIPROC_DIR"
"""The variable of prometheus_client that names the folder in which the workers of a service count."""

# Variables that change the number of processes, their ports, their servers or their databases.
_NOT_INHERITED = ("FASTSTREAM_", "UVICORN_", "MKSTORE_")
_NOT_INHERITED_NAMES = {
    *("PORT", "WEB_CONCURRENCY", "SHARD", "SHARDS", _SHARED_METRICS),
    *("NATS_URL", "NATS_MONITOR_URL", "JWT_SECRET", "DB_HOST", "DB_PORT", "DB_USER", "DB_PASSWORD", "DB_DATABASE"),
    *(*NATS_FILES, "NATS_CREDS"),
    *_DATABASE_TLS,
}


@dataclass(frozen=True)
class DatabaseLogin:
    """Address of PostgreSQL, the services' user and password, and the variables of TLS that are set (`DB_SSL...`).

    Several hosts and ports stand with commas between them.
    """

    host: str
    port: str
    user: str
    password: str = field(repr=False)
    tls: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def in_environment(cls, environ: Mapping[str, str]) -> Self:
        """Return the login that the variables of an environment name."""
        return cls(
            environ.get("DB_HOST") or "127.0.0.1",
            environ.get("DB_PORT") or "5432",
            environ.get("DB_USER") or "postgres",
            environ.get("DB_PASSWORD", ""),
            {name: environ[name] for name in _DATABASE_TLS if environ.get(name)},
        )

    def url_of(self, database: str) -> str:
        """Return the address of a database, with user and password, and libpq's parameters of TLS."""
        mode, rootcert, cert, key = (self.tls.get(name, "") for name in _DATABASE_TLS)
        parameters = ssl_parameters(mode or "prefer", rootcert, cert, key)
        return address(self.host, self.port, self.user, self.password, database, parameters)


def service_environment(
    spec: ServiceSpec,
    inherited: Mapping[str, str],
    *,
    nats_url: str,
    nats_security: Mapping[str, str] | None = None,
    api_prefix: str | None = None,
    monitor_url: str,
    database: DatabaseLogin,
    jwt_secret: str,
    shards: int = 1,
) -> dict[str, str]:
    """Return the environment of a service: `inherited` without what could misdirect it, with its servers' addresses.

    `nats_security` has its variables for TLS and a login in a file (`NATS_CA` and others).
    """
    env = {
        name: value
        for name, value in inherited.items()
        if not name.startswith(_NOT_INHERITED) and name not in _NOT_INHERITED_NAMES
    }
    own = {"APP_ENV": inherited.get("APP_ENV", "development"), "NATS_URL": nats_url, "NATS_MONITOR_URL": monitor_url}
    own |= nats_security or {}
    if shards > 1:
        own |= {"SHARDS": str(shards)} | ({"SHARD": str(spec.shard.number)} if spec.shard.name else {})
    if api_prefix:
        own["NATS_API_PREFIX"] = api_prefix
    if spec.keeps_keys:
        own["JWT_SECRET"] = jwt_secret
    if spec.database is not None:
        own |= {
            "DB_HOST": database.host,
            "DB_PORT": database.port,
            "DB_USER": database.user,
            "DB_PASSWORD": database.password,
            "DB_DATABASE": spec.database,
            **database.tls,
        }
    # By default uvicorn believes X-Forwarded-For of the loopback: any local tunnel could name its own address.
    env.setdefault("FORWARDED_ALLOW_IPS", "")
    return env | own | {"PYTHONUNBUFFERED": "1"}


def own_variables(env: Mapping[str, str], inherited: Mapping[str, str]) -> dict[str, str]:
    """Return what of a service's environment belongs to the store, and not to the environment of `mkstore up`."""
    return {
        name: value
        for name, value in env.items()
        if not name.startswith(_NOT_INHERITED) and (name in _NOT_INHERITED_NAMES or inherited.get(name) != value)
    }


def is_ready(url: str) -> bool:
    """Return whether `/health/ready` of the service at `url` answers 200."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=_PROBE_TIMEOUT)
    try:
        connection.request("GET", "/health/ready", headers={"Connection": "close"})
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _emptied(folder: Path) -> Path:
    """Return `folder`, without what an earlier start has left there."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


class ServiceProcess(ManagedProcess):
    """A service under `faststream run` with `workers` processes, which get the nice value `niceness` when ready."""

    def __init__(
        self, spec: ServiceSpec, *, env: Mapping[str, str], port: int, workers: int, niceness: int, log: Path
    ) -> None:
        super().__init__(spec.name, log)
        self.spec = spec
        self.port = port
        self.workers = workers
        self.niceness = niceness
        self._env = env

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://{ports.LOOPBACK}:{self.port}"

    @property
    def address(self) -> str:
        """Its address."""
        return self.url

    def launch(self) -> subprocess.Popen[bytes]:
        """Start `faststream run`."""
        options = ["--host", ports.LOOPBACK, "--port", str(self.port)]
        env = self._env
        if self.workers > 1:
            options += ["--workers", str(self.workers)]
            env = {**env, _SHARED_METRICS: str(_emptied(self.log.with_suffix(".metrics")))}
        return processes.spawn(
            [sys.executable, "-m", "faststream", "run", self.spec.app, *options],
            env=self.marked(env),
            log=self.log,
            cwd=self.spec.root,
            death_signal=self.death_signal,
        )

    def is_ready(self) -> bool:
        """Return whether it runs and its `/health/ready` answers 200."""
        return is_ready(self.url) and self.is_running

    def worker_pids(self) -> list[int]:
        """Return the pids of its workers; with one worker, of its only process."""
        if self.process is None or self.workers == 1:
            return [] if self.process is None else [self.process.pid]
        try:
            children = psutil.Process(self.process.pid).children()
            # The other child is the resource tracker of Python's multiprocessing.
            return sorted(c.pid for c in children if processes.is_alive(c) and "spawn_main" in " ".join(c.cmdline()))
        except psutil.Error:
            return []
