"""Real servers for the tests of mkstore."""

from collections.abc import Iterator

import pytest

from mkstore.stack.servers import NatsServer, PostgresServer


@pytest.fixture
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with NatsServer(tmp_path_factory.mktemp("nats")) as server:
        yield server


@pytest.fixture(scope="module")
def one_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    with PostgresServer(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture
def postgres(one_postgres: PostgresServer) -> PostgresServer:
    """Return a running server; one that an earlier test has killed is started again on its data."""
    if not one_postgres.is_running:
        one_postgres.start()
    return one_postgres
