"""The servers of docker-compose.yml without Docker: the same configuration, script and logins."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from mkstore.cli.main import app
from mkstore.stack import ports, processes
from mkstore.stack.managed_process import ManagedProcess
from mkstore.stack.servers import PostgresServer
from mkstore.stack.servers.accounts import postgres_program
from mkstore.stack.servers.nats import nats_server_program
from tests.conftest import ROOT
from tests.support.compose import config, environment_of
from tests.support.provisioning import provision


class ConfiguredNats(ManagedProcess):
    """A nats-server with deploy/nats.conf, on free ports and with a temporary folder."""

    def __init__(self, folder: Path, env: dict[str, str], configuration: Path = ROOT / "deploy/nats.conf") -> None:
        super().__init__("nats", folder / "nats.log")
        self.configuration = configuration
        self.folder = folder
        self.env = env
        self.port, self.monitoring = ports.free_port(), ports.free_port()

    @property
    def address(self) -> str:
        """The address instead of `nats:4222`."""
        return f"127.0.0.1:{self.port}"

    def launch(self) -> subprocess.Popen[bytes]:
        """Start it."""
        where = ["--addr", "127.0.0.1", "--port", str(self.port), "--http_port", str(self.monitoring)]
        files = ["--config", str(self.configuration), "--store_dir", str(self.folder)]
        return processes.spawn(
            [nats_server_program(), *files, *where],
            env={"PATH": os.defpath, **self.env},
            log=self.log,
            cwd=self.folder,
        )

    def is_ready(self) -> bool:
        """Run the health check of the container."""
        try:
            return self.monitor("healthz") == {"status": "ok"}
        except httpx.TransportError:
            return False

    def monitor(self, page: str) -> dict[str, Any]:
        """Return a page of its monitoring."""
        response = httpx.get(f"http://127.0.0.1:{self.monitoring}/{page}", trust_env=False)
        return dict(response.json())


def run_database_script(server: PostgresServer, environment: Mapping[str, str]) -> None:
    """Run deploy/postgres/databases.sh as the postgres image does on its first start."""
    connection = {"PGHOST": "127.0.0.1", "PGPORT": str(server.port), "PGPASSWORD": server.password}
    image = {"POSTGRES_USER": server.user, "POSTGRES_DB": "postgres"}
    path = f"{Path(postgres_program('psql')).parent}:{os.defpath}"
    subprocess.run(
        [shutil.which("sh") or "sh", str(ROOT / "deploy/postgres/databases.sh")],
        env={**environment, **connection, **image, "PATH": path},
        stdin=subprocess.DEVNULL,
        check=True,
    )


@pytest.fixture(scope="session")
def composed() -> dict[str, Any]:
    """Return the configuration that Compose resolves from docker-compose.yml."""
    return config()


@pytest.fixture(scope="session")
def configured_nats(composed: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConfiguredNats]:
    """A nats-server as docker-compose.yml starts it."""
    environment = environment_of(composed, "nats")
    with ConfiguredNats(tmp_path_factory.mktemp("nats"), environment) as server:
        password = environment["NATS_OPERATOR_PASSWORD"].strip('"')
        provision(f"nats://operator:{password}@{server.address}")
        yield server


@pytest.fixture(scope="session")
def prepared_postgres(composed: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A PostgreSQL on which the script of the postgres image has run."""
    with PostgresServer(tmp_path_factory.mktemp("postgres")) as server:
        run_database_script(server, environment_of(composed, "postgres"))
        yield server


@pytest.fixture(scope="session")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with what `mkstore secrets` makes for Compose."""
    folder = tmp_path_factory.mktemp("deployment") / "secrets"
    assert CliRunner().invoke(app, ["secrets", str(folder)]).exit_code == 0
    return folder
