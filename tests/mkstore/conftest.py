"""Real servers for the tests of mkstore."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import nats as nats_client
import pytest
from nats.aio.client import Client

from contracts.logins import inbox_prefix
from mkstore import nats_accounts, rights
from mkstore.services import SERVICES
from mkstore.stack.servers import Login, NatsServer, PostgresServer
from tests.support.provisioning import provision

NAMES = [spec.name for spec in SERVICES]


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


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """A provisioned server with the logins that `mkstore up` creates."""
    every = rights.every(NAMES)
    logins = [Login.of(each, each.login) for each in every]
    with NatsServer(
        tmp_path_factory.mktemp("permissions"), others=logins, sharing=nats_accounts.sharing(every)
    ) as running:
        provision(running.url)
        yield running


class Connection:
    """A service's connection and its permission errors."""

    def __init__(self, service: str, client: Client, errors: asyncio.Queue[str]) -> None:
        self.service = service
        self.client = client
        self._errors = errors

    async def error(self) -> str:
        """Return the error of the last operation; empty if it was allowed."""
        for _ in range(2):  # a first PING may overtake what is buffered
            await self.client.flush()
        return self._errors.get_nowait() if self._errors.qsize() else ""


@pytest.fixture
async def connection(server: NatsServer, request: pytest.FixtureRequest) -> AsyncIterator[Connection]:
    """The connection of the service in the test's parameter."""
    errors: asyncio.Queue[str] = asyncio.Queue()

    async def remember(error: Exception) -> None:
        await errors.put(str(error))

    client = await nats_client.connect(
        server.url_as(request.param, server.port), inbox_prefix=inbox_prefix(request.param), error_cb=remember
    )
    yield Connection(request.param, client, errors)
    await client.close()
