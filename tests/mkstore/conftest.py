"""Real servers for the tests of the operator's command."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mkstore.servers import NatsServer, PostgresServer


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[NatsServer]:
    with NatsServer(tmp_path / "nats") as server:
        yield server


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[PostgresServer]:
    with PostgresServer(tmp_path / "postgres") as server:
        yield server
