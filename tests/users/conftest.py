"""The users service in memory and on real servers, with a separate database for each run."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from apps.users.settings import Settings
from mkstore.stack.servers import NatsServer
from tests.conftest import Gear, NewDatabase
from tests.support.users_harness import SECRET, Service, cheap, for_real, in_memory


def settings_for(environment: dict[str, str], nats_url: str, **others: Any) -> Settings:
    """Read settings as the service does, from an environment that is given."""
    values = {name.lower(): value for name, value in environment.items()}
    return Settings(**{"nats_url": nats_url, "jwt_secret": SECRET, "db_pool_size": 5, **values, **others})


@pytest.fixture(scope="session")
def users_database(new_database: NewDatabase) -> dict[str, str]:
    """Return the environment that names a database that the tests share."""
    return new_database("users")


@pytest.fixture
def settings(nats_server: NatsServer, users_database: dict[str, str]) -> Settings:
    """Return the settings of a service on the servers of this run, with cheap hashes."""
    return cheap(settings_for(users_database, nats_server.url))


@pytest.fixture
async def service(gear: Gear, request: pytest.FixtureRequest) -> AsyncIterator[Service]:
    """Serve, in memory or for real."""
    serving = in_memory() if gear == "memory" else for_real(request.getfixturevalue("settings"))
    async with serving as running:
        yield running


@pytest.fixture
async def real_service(settings: Settings) -> AsyncIterator[Service]:
    """Serve for real: for what only the real thing can show."""
    async with for_real(settings) as running:
        yield running
