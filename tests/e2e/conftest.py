"""One running store for all end-to-end tests that do not break it."""

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from tests.e2e.client import calling
from tests.e2e.running import Running, running


@pytest.fixture(scope="session")
def store() -> Iterator[Running]:
    """Return a running store; a test that kills a part of it starts its own with `running`."""
    with running("--ephemeral", "--port", "0") as mkstore:
        yield mkstore


@pytest.fixture
async def http(store: Running) -> AsyncIterator[httpx.AsyncClient]:
    """Return a client of the running store's gateway."""
    async with calling(store) as client:
        yield client
