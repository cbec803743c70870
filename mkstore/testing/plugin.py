"""The pytest plugin: `pytest_plugins = ["mkstore.testing.plugin"]` in the top `conftest.py`."""

from collections.abc import AsyncIterator

import pytest_asyncio

from mkstore.testing.store import MemoryStore, in_memory


@pytest_asyncio.fixture
async def store() -> AsyncIterator[MemoryStore]:
    """Run all services of the project in memory, for one test."""
    async with in_memory() as running:
        yield running
