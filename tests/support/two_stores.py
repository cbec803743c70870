"""The servers of two stores without services: one to back up, and one to restore into."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

from contracts.streams import STREAMS
from mkstore.services import SERVICES
from mkstore.stack.servers import NatsServer, PostgresServer
from tests.support.migrated_database import database_environment, migrate
from tests.support.provisioning import provision
from tests.support.service_processes import connect

DATABASES = {spec.name: spec.database for spec in SERVICES if spec.database is not None}


@dataclass
class StoreServers:
    """A nats-server and a PostgreSQL with the databases of the services."""

    nats: NatsServer
    postgres: PostgresServer

    @property
    def environment(self) -> dict[str, str]:
        """The variables of the operator's commands."""
        names = ("DB_HOST", "DB_PORT", "DB_USER", "DB_PASSWORD")
        login = database_environment(self.postgres, "")
        return {"NATS_URL": self.nats.admin_url, "COLUMNS": "200", **{name: login[name] for name in names}}

    @property
    def databases(self) -> dict[str, str]:
        """The address of each database, by the name of its service."""
        return {service: self.postgres.url_of(name) for service, name in DATABASES.items()}

    def clear(self) -> None:
        """Make the databases anew, without tables, and remove the streams."""
        self.drop()
        self.postgres.create_databases(*DATABASES.values())

    def drop(self) -> None:
        """Remove the databases and streams."""
        asyncio.run(self._drop())

    def fill(self) -> None:
        """Give the databases their schemas, and make the streams and consumers."""
        for service, name in DATABASES.items():
            migrate(service, database_environment(self.postgres, name))
        provision(self.nats.url)

    async def query(self, service: str, query: str, *arguments: Any) -> list[Any]:
        """Return the first column of the rows that a query returns in the database of a service."""
        connection = await asyncpg.connect(self.databases[service])
        try:
            return [row[0] for row in await connection.fetch(query, *arguments)]
        finally:
            await connection.close()

    @asynccontextmanager
    async def jetstream(self) -> Any:
        """Connect to JetStream."""
        async with connect(self.nats.admin_url) as broker:
            yield broker.jetstream

    async def messages(self) -> dict[str, int]:
        """Return the number of messages of each stream that exists."""
        async with self.jetstream() as jetstream:
            return {info.config.name: info.state.messages for info in await jetstream.streams_info()}

    async def _drop(self) -> None:
        async with self.jetstream() as jetstream:
            await _delete_all(jetstream)
        connection = await asyncpg.connect(self.postgres.url)
        try:
            for name in DATABASES.values():
                await connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        finally:
            await connection.close()


async def _delete_all(jetstream: JetStreamContext) -> None:
    for stream in STREAMS:
        try:
            await jetstream.delete_stream(stream.name)
        except NotFoundError:
            continue


@contextmanager
def two_stores(folder: Path) -> Iterator[tuple[StoreServers, StoreServers]]:
    """Run the servers of both until the end of the block; the first has schemas and streams."""
    with ExitStack() as stack:
        stores = [
            StoreServers(
                stack.enter_context(NatsServer(folder / f"nats-{name}")),
                stack.enter_context(PostgresServer(folder / f"postgres-{name}")),
            )
            for name in ("source", "target")
        ]
        for store in stores:
            store.clear()
        stores[0].fill()
        yield stores[0], stores[1]
