"""The whole store of `mkstore.testing` in memory, with the outages that the tests of the gateway cause."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from apps.gateway.main import Gateway
from mkstore import testing
from mkstore.testing.broker import MemoryBroker
from mkstore.testing.fakes.payment_queue import FakePaymentQueue
from tests.support.payments_harness import LIMIT
from tests.support.store import Store


@dataclass
class _MemoryOutages:
    store: testing.MemoryStore

    @asynccontextmanager
    async def away(self, service: str) -> AsyncIterator[None]:
        with self.store.away(service):
            yield

    @asynccontextmanager
    async def silent(self, service: str) -> AsyncIterator[httpx.AsyncClient]:
        self.store.broker.silent.add(service)
        yield self.store.http
        self.store.broker.silent.discard(service)

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        with self.store.held("payments"):
            yield


@dataclass
class MemoryStore(Store):
    """A store in memory, with its fakes."""

    broker: MemoryBroker
    memory: testing.MemoryStore = field(kw_only=True)

    @property
    def queue(self) -> FakePaymentQueue:
        """The queue of payment commands."""
        queue: FakePaymentQueue = self.memory.services["gateway"].data
        return queue


@asynccontextmanager
async def in_memory(**options: Any) -> AsyncIterator[MemoryStore]:
    """Serve from dictionaries; `options` are settings of the gateway."""
    settings = {"gateway": {"rate_limit_enabled": False, **options}, "payments": {"payment_limit": LIMIT}}
    async with testing.in_memory(settings=settings) as store:
        app = store.services["gateway"].app
        assert isinstance(app, Gateway)
        yield MemoryStore(store.http, store.broker, app, _MemoryOutages(store), memory=store)
