"""Real servers for the tests of the operator's command."""

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
    """Return a running server; a test may kill it, the next one starts it again on what is there."""
    if not one_postgres.is_running:
        one_postgres.start()
    return one_postgres
