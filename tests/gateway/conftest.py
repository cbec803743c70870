"""The store in two gears, one of each for a module; and stores of a test's own."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from mkstore.stack.servers import NatsServer
from tests.conftest import Gear, NewDatabase
from tests.support.memory_store import in_memory
from tests.support.real_store import Servers, for_real
from tests.support.store import Store


@pytest.fixture(params=["memory", "real"], scope="module")
def gear(request: pytest.FixtureRequest) -> Gear:
    """What a module runs on: each of its tests runs twice."""
    chosen: Gear = request.param
    return chosen


@pytest.fixture(scope="session")
def databases(new_database: NewDatabase) -> tuple[dict[str, str], dict[str, str]]:
    """Return the environments that name the databases of users and payments."""
    return new_database("users"), new_database("payments")


@pytest.fixture(scope="session")
def servers(nats_server: NatsServer, databases: tuple[dict[str, str], dict[str, str]]) -> Servers:
    """Return the servers that the real stores share."""
    return Servers(nats_server.url, *databases)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def store(gear: Gear, request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    """Serve, in memory or for real, all tests of a module; only one store lives at a time in one process."""
    async with in_memory() if gear == "memory" else for_real(request.getfixturevalue("servers")) as running:
        yield running
