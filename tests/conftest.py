"""Fixtures of the whole suite: the two backends, and a real nats-server and PostgreSQL once per worker process."""

import asyncio
import gc
import os
import secrets
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Literal

import asyncpg
import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from mkstore.stack.servers import NatsServer, PostgresServer
from tests.support.migrated_database import database_environment, migrate
from tests.support.provisioning import provision

pytest_plugins = ["mkstore.testing.plugin"]  # the fixture `store`

Gear = Literal["memory", "real"]
ROOT = Path(__file__).resolve().parent.parent


_RUN_FIRST = (
    "tests/chaos/test_prove.py",
    "tests/chaos/test_cluster.py",
    "tests/e2e/test_backup.py",
    "tests/e2e/test_rolling_restart.py",
    "tests/e2e/test_upgrade.py",
    "tests/e2e/unlimited_store",
    "tests/e2e/default_store",
    "tests/payments/test_processes.py",
    "tests/docs/test_recipes.py",
    "tests/docs/test_tutorial.py",
    "tests/e2e/test_shards.py",
    "tests/e2e/test_tls.py",
    "tests/e2e/test_unsynced.py",
    "tests/gateway/test_processes.py",
    "tests/mkstore/cli/test_doctor.py",
    "tests/mkstore/cli/test_up.py",
    "tests/payments/test_reacting.py",
    "tests/portal/test_browser.py",
    "tests/deploy/test_images.py",
)
"""Groups that take longest: one that started last would prolong the run."""


class GroupScheduling(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Keeps each file on one worker, and all files of a folder in `tests/e2e`, whose tests share a running store."""

    def _split_scope(self, nodeid: str) -> str:
        return _group(nodeid)


def _group(nodeid: str) -> str:
    file = PurePosixPath(nodeid.partition("::")[0])
    return str(file.parent if file.match("tests/e2e/*/test_*.py") else file)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> GroupScheduling:
    """Distribute groups of tests to workers.

    xdist's own `--dist=loadgroup` does nothing under pytest 9.2: it sets an attribute that pytest does not read.
    """
    return GroupScheduling(config, log)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the number of generated requests of tests/gateway/test_fast_path.py."""
    parser.addoption("--examples", type=int, default=300, help="generated sequences of requests for the fast path")


def pytest_configure() -> None:
    """Let the processes that tests start keep their bytecode: without it each start compiles every module again."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect the tests without garbage collection, and keep what imports made out of all later collections.

    Each worker imports everything: it saves a quarter of that time.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the longest groups first."""
    order = {group: position for position, group in enumerate(_RUN_FIRST)}
    items.sort(key=lambda item: order.get(_group(item.nodeid), len(order)))


@pytest.fixture(params=["memory", "real"])
def gear(request: pytest.FixtureRequest) -> Gear:
    """Run the test twice: in memory, and on real servers."""
    chosen: Gear = request.param
    return chosen


@pytest.fixture(scope="session")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """Run a provisioned nats-server for the whole session; a test that needs it fails if it does not start."""
    with NatsServer(tmp_path_factory.mktemp("nats")) as server:
        provision(server.url)
        yield server


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """Run a PostgreSQL for the whole session; a test that needs it fails if it does not start."""
    with PostgresServer(tmp_path_factory.mktemp("postgres")) as server:
        yield server


NewDatabase = Callable[[str], dict[str, str]]


@pytest.fixture(scope="session")
def new_database(postgres_server: PostgresServer) -> Iterator[NewDatabase]:
    """Return a function that creates an empty, migrated database of a service and returns its environment.

    Each service is migrated once, into a template that PostgreSQL copies.
    """

    @cache
    def template(service: str) -> str:
        name = f"{service}_template"
        postgres_server.create_databases(name)
        migrate(service, database_environment(postgres_server, name))
        return name

    def create(service: str) -> dict[str, str]:
        name = f"{service}_{secrets.token_hex(4)}"
        asyncio.run(_copy_database(postgres_server.url, template(service), name))
        return database_environment(postgres_server, name)

    with ThreadPoolExecutor(1) as thread:  # alembic runs an event loop, and the test that calls may be inside one
        yield lambda service: thread.submit(create, service).result()


async def _copy_database(url: str, template: str, name: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    finally:
        await connection.close()
