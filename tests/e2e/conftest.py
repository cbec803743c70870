"""Running stores that the end-to-end tests share: starting one takes longer than most tests do."""

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from tests.support.http_client import calling
from tests.support.running_store import Running, running
from tests.support.wire_tap import Documents, hearing

NO_LIMITS = {"RATE_LIMIT_ENABLED": "false"}


@pytest.fixture(scope="session")
def store() -> Iterator[Running]:
    """Return a running store; a test that kills a part of it starts its own with `running`."""
    with running("--ephemeral", "--port", "0") as mkstore:
        yield mkstore


@pytest.fixture(scope="session")
def unlimited() -> Iterator[Running]:
    """Return a running store without rate limits, for what asks for very much and breaks nothing."""
    with running("--ephemeral", "--port", "0", env=NO_LIMITS) as mkstore:
        yield mkstore


@pytest.fixture(scope="session")
def battered() -> Iterator[Running]:
    """Return a running store without rate limits whose parts are killed; each test leaves it whole again."""
    with running("--ephemeral", "--port", "0", env=NO_LIMITS) as mkstore:
        yield mkstore


@pytest.fixture(scope="session")
def two_workers() -> Iterator[Running]:
    """Return a running store without rate limits, with two processes of every service."""
    with running("--ephemeral", "--port", "0", "--workers", "2", env=NO_LIMITS) as mkstore:
        yield mkstore


@pytest.fixture(scope="module")
def documented(store: Running) -> Iterator[None]:
    """Fail a module, at its end, when something was said on NATS in it that the documents do not tell of."""
    with hearing(store) as heard:
        yield
    found, faults = Documents().told(heard)
    assert found, "nothing was heard"
    assert not faults, "\n".join(faults)


@pytest.fixture
async def http(store: Running) -> AsyncIterator[httpx.AsyncClient]:
    """Return a client of the running store's gateway."""
    async with calling(store) as client:
        yield client
