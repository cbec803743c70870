"""A nats-server and a PostgreSQL that a test may kill, with the migrated database of one service."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from mkstore.stack.servers import NatsServer, PostgresServer
from tests.support.migrated_database import database_environment, migrate
from tests.support.provisioning import provision


class KillableServers(NamedTuple):
    """The servers, and the environment of a service that uses them.

    Start them in the main thread: Linux ends a child process when the thread that started it ends.
    """

    nats: NatsServer
    postgres: PostgresServer
    environment: dict[str, str]

    def restart(self) -> None:
        """Start the servers that a test has left stopped."""
        for server in (self.nats, self.postgres):
            if not server.is_running:
                server.start()


@contextmanager
def killable_servers(folder: Path, service: str) -> Iterator[KillableServers]:
    """Run the servers until the block ends."""
    with NatsServer(folder / "nats") as nats, PostgresServer(folder / "postgres") as postgres:
        provision(nats.url)
        name = f"{service}_db"
        postgres.create_databases(name)
        environment = {"NATS_URL": nats.url} | database_environment(postgres, name)
        migrate(service, environment)
        yield KillableServers(nats, postgres, environment)
