"""Running stores that the end-to-end tests share: to start one takes longer than most tests do."""

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from tests.support.http_client import calling
from tests.support.running_store import Running, running
from tests.support.wire_tap import Documents, record_messages

NO_LIMITS = {"RATE_LIMIT_ENABLED": "false"}


@pytest.fixture(scope="session")
def store() -> Iterator[Running]:
    """Run a store with the default settings; its tests do not kill its processes."""
    with running("--ephemeral", "--port", "0") as mkstore:
        yield mkstore


@pytest.fixture(scope="session")
def unlimited_store() -> Iterator[Running]:
    """Run a store without rate limits whose processes may be killed; each test waits until they are replaced."""
    with running("--ephemeral", "--port", "0", env=NO_LIMITS) as mkstore:
        yield mkstore


@pytest.fixture(scope="session")
def two_worker_store() -> Iterator[Running]:
    """Run a store without rate limits, with two processes per service."""
    with running("--ephemeral", "--port", "0", "--workers", "2", env=NO_LIMITS) as mkstore:
        yield mkstore


@pytest.fixture(scope="module")
def documented(store: Running) -> Iterator[None]:
    """Fail at the end of a module if a message on NATS did not match the documents."""
    with record_messages(store) as recorded:
        yield
    found, faults = Documents().check(recorded)
    assert found, "no message was recorded"
    assert not faults, "\n".join(faults)


@pytest.fixture
async def http(store: Running) -> AsyncIterator[httpx.AsyncClient]:
    """Return an HTTP client of the running store's gateway."""
    async with calling(store) as client:
        yield client
