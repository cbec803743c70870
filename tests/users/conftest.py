"""The users service in memory and on real servers."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from apps.users.settings import Settings
from mkstore.stack.servers import NatsServer
from mkstore.testing.signing_keys import SECRET
from tests.conftest import Gear, NewDatabase
from tests.support.users_harness import UsersService, in_memory, low_cost, on_servers


def settings_for(environment: dict[str, str], nats_url: str, **others: Any) -> Settings:
    """Return the settings for an environment, with `others` replaced."""
    values = {name.lower(): value for name, value in environment.items()}
    return Settings(**{"nats_url": nats_url, "jwt_secret": SECRET, "db_pool_size": 5, **values, **others})


@pytest.fixture(scope="session")
def users_database(new_database: NewDatabase) -> dict[str, str]:
    """Return the environment of a database that all tests share."""
    return new_database("users")


@pytest.fixture
def settings(nats_server: NatsServer, users_database: dict[str, str]) -> Settings:
    """Return settings for the shared servers, with low-cost hashes."""
    return low_cost(settings_for(users_database, nats_server.url))


@pytest.fixture
async def service(gear: Gear, request: pytest.FixtureRequest) -> AsyncIterator[UsersService]:
    """Run the service, in memory or on real servers."""
    async with in_memory() if gear == "memory" else on_servers(request.getfixturevalue("settings")) as running:
        yield running


@pytest.fixture
async def real_service(settings: Settings) -> AsyncIterator[UsersService]:
    """Run the service on real servers only."""
    async with on_servers(settings) as running:
        yield running
