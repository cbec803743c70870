"""One running store for all end-to-end tests that do not break it."""

from collections.abc import Iterator

import pytest

from tests.e2e.running import Running, running


@pytest.fixture(scope="session")
def store() -> Iterator[Running]:
    """Return a running store; a test that kills a part of it starts its own with `running`."""
    with running("--ephemeral", "--port", "0") as mkstore:
        yield mkstore
