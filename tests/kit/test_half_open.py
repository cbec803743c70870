"""A link on which nothing arrives any more, without an error: each side notices it within seconds."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from uuid import uuid4

import pytest
from nats.errors import NoRespondersError
from nats.errors import TimeoutError as NatsTimeoutError
from sqlalchemy import URL

from kit.database import Transaction, pool_of
from kit.errors import Unavailable
from kit.messaging.broker import Broker
from mkstore.chaos.network import Link, Mode
from mkstore.stack.servers import NatsServer, PostgresServer
from tests.kit.conftest import NewBroker
from tests.support.polling import eventually

NewLink = Callable[[int], Awaitable[Link]]


@pytest.fixture
async def new_link() -> AsyncIterator[NewLink]:
    """Return a function that starts a link to a port; the fixture stops them."""
    async with AsyncExitStack() as stack:

        async def start(port: int) -> Link:
            link = Link("service-server", port)
            await link.start()
            stack.push_async_callback(link.stop)
            return link

        yield start


def through(link: Link, server: NatsServer) -> str:
    return server.url.replace(f":{server.port}", f":{link.port}")


async def test_silent_nats_is_noticed_within_six_seconds(
    new_broker: NewBroker, new_link: NewLink, nats_server: NatsServer
) -> None:
    link = await new_link(nats_server.port)
    broker = new_broker(through(link, nats_server))
    await broker.start()
    link.set(Mode.HALF_OPEN)
    await eventually(lambda: not broker.is_connected(), timeout=6)
    link.set(Mode.OPEN)
    await eventually(broker.is_connected)


async def test_nats_sends_no_requests_to_a_silent_replica(
    new_broker: NewBroker, new_link: NewLink, nats_server: NatsServer
) -> None:
    link, subject = await new_link(nats_server.port), f"t{uuid4().hex}"
    silent, caller = new_broker(through(link, nats_server)), new_broker()

    @silent.subscriber(subject, queue="replicas")
    async def never(body: bytes) -> None: ...

    await silent.start()
    await caller.start()
    assert not await _has_no_responder(caller, subject)
    link.set(Mode.HALF_OPEN)
    await eventually(lambda: _has_no_responder(caller, subject), timeout=8)


async def _has_no_responder(caller: Broker, subject: str) -> bool:
    try:
        await caller.client.request(subject, b"", timeout=0.2)
    except NoRespondersError:
        return True
    except NatsTimeoutError:
        return False
    return False


class Query(Transaction):
    """A transaction with one statement."""

    async def run(self) -> None:
        await self._connection.fetchval("SELECT 1")


async def test_silent_database_is_noticed_within_six_seconds(
    new_link: NewLink, postgres_server: PostgresServer
) -> None:
    link, server = await new_link(postgres_server.port), postgres_server
    pool = pool_of(URL.create("postgresql", server.user, server.password, "127.0.0.1", link.port, "postgres"), 2)

    async def succeeds() -> bool:
        try:
            async with Query(pool) as query:
                await query.run()
        except Unavailable:
            return False
        return True

    async def fails() -> bool:
        return not await succeeds()

    assert await succeeds()
    link.set(Mode.HALF_OPEN)
    await eventually(fails, timeout=6)
    link.set(Mode.OPEN)
    await eventually(succeeds)
    await pool.close()
