"""The store in two gears, in memory and on real servers, one of each per module."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from mkstore.stack.servers import NatsServer
from tests.conftest import Gear, NewDatabase
from tests.support.memory_store import in_memory
from tests.support.real_store import Servers, on_real_servers
from tests.support.store import Store


@pytest.fixture(params=["memory", "real"], scope="module")
def gear(request: pytest.FixtureRequest) -> Gear:
    """Return the gear of a module; each of its tests runs in both."""
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
    """Serve all tests of a module; only one store runs at a time in one process."""
    async with in_memory() if gear == "memory" else on_real_servers(request.getfixturevalue("servers")) as running:
        yield running
