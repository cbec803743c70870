"""Two gears of one suite: in memory, and on a real nats-server and PostgreSQL that are started here, once."""

import os
import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import pytest
from alembic import command
from alembic.config import Config

from mkstore.stack.servers import NatsServer, PostgresServer

Gear = Literal["memory", "real"]
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(params=["memory", "real"])
def gear(request: pytest.FixtureRequest) -> Gear:
    """What a test that asks for it runs on: it runs twice."""
    chosen: Gear = request.param
    return chosen


@pytest.fixture(scope="session")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """A nats-server with JetStream for the whole session; that it does not start fails the tests that need it."""
    with NatsServer(tmp_path_factory.mktemp("nats")) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A PostgreSQL for the whole session; that it does not start fails the tests that need it."""
    with PostgresServer(tmp_path_factory.mktemp("postgres")) as server:
        yield server


NewDatabase = Callable[[str], dict[str, str]]


@pytest.fixture(scope="session")
def new_database(postgres_server: PostgresServer) -> Iterator[NewDatabase]:
    """Make an empty, migrated database of a service; returns the environment that names it."""

    def make(service: str) -> dict[str, str]:
        name = f"{service}_{secrets.token_hex(4)}"
        postgres_server.create_databases(name)
        environment = {
            "DB_HOST": "127.0.0.1",
            "DB_PORT": str(postgres_server.port),
            "DB_USER": postgres_server.user,
            "DB_PASSWORD": postgres_server.password,
            "DB_DATABASE": name,
        }
        with pytest.MonkeyPatch.context() as patch:
            for key, value in environment.items():
                patch.setitem(os.environ, key, value)
            command.upgrade(Config(ROOT / "apps" / service / "alembic.ini"), "head")
        return environment

    with ThreadPoolExecutor(1) as outside:  # where no event loop runs: a test may call it from inside one

        def make_outside(service: str) -> dict[str, str]:
            return outside.submit(make, service).result()

        yield make_outside
