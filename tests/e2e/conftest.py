"""Running stores that the end-to-end tests share: to start one takes longer than most tests do."""

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from mkstore.stack import ports
from tests.support.http_client import calling
from tests.support.running_store import Running, running
from tests.support.wire_tap import Documents, record_messages


@pytest.fixture(scope="session")
def store() -> Iterator[Running]:
    """Run a store with the default settings and two processes per service; its tests do not kill services."""
    traced = {"OTEL_SDK_DISABLED": "false"}
    with running("--ephemeral", "--port", "0", "--workers", "2", env=traced) as mkstore:
        yield mkstore


@pytest.fixture(scope="session")
def unlimited_store() -> Iterator[Running]:
    """Run a store without rate limits whose processes may be killed; each test waits until they are replaced."""
    with tempfile.TemporaryDirectory(prefix="mkstore-") as folder:
        Path(folder).chmod(0o711)  # PostgreSQL may run as another user, which must be able to traverse it
        home, port = str(Path(folder) / "home"), str(ports.free_port())
        with running("--home", home, "--port", port, "--workers", "1", env={"RATE_LIMIT_ENABLED": "false"}) as mkstore:
            yield mkstore


@pytest.fixture(scope="module")
def documented(store: Running) -> Iterator[None]:
    """Fail at the end of a module if a message on NATS did not match the documents."""
    with record_messages(store) as recorded:
        yield
    examples, faults = Documents().check(recorded)
    assert examples, "no message was recorded"
    assert not faults, "\n".join(faults)


@pytest.fixture
async def http(store: Running) -> AsyncIterator[httpx.AsyncClient]:
    """Return an HTTP client of the running store's gateway."""
    async with calling(store) as client:
        yield client
