"""Pulling from a durable consumer: each message arrives once, also after the connection was lost."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from contracts.consumers import Durable
from contracts.logins import IMPORTED_API, JETSTREAM_API
from kit.messaging.broker import Broker
from kit.messaging.consumers import DurableRouter
from kit.messaging.streams import provision_consumers
from mkstore.chaos.network import Link, Mode
from mkstore.nats_accounts import STREAMS_ACCOUNT
from mkstore.stack.servers import NatsServer
from mkstore.stack.servers.nats import Login
from tests.kit.conftest import Greetings
from tests.support.polling import eventually
from tests.support.provisioning import ProvisionedBroker

ACCOUNT = "SERVICE"
ACKNOWLEDGEMENTS = "$JS.ACK.>"


def _imported(subject: str, **options: str) -> dict[str, object]:
    return {"service": {"account": STREAMS_ACCOUNT, "subject": subject}, **options}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    """Return a server on which the service has an account, as in `mkstore up`: NATS maps the replies between two."""
    sharing: dict[str, dict[str, list[dict[str, object]]]] = {
        STREAMS_ACCOUNT: {
            "exports": [{"service": f"{JETSTREAM_API}.>", "response_type": "stream"}, {"service": ACKNOWLEDGEMENTS}]
        },
        ACCOUNT: {
            "imports": [_imported(f"{JETSTREAM_API}.>", to=f"{IMPORTED_API}.>"), _imported(ACKNOWLEDGEMENTS)],
        },
    }
    with NatsServer(tmp_path, others=[Login("service", account=ACCOUNT)], sharing=sharing) as server:
        yield server


@pytest.fixture
async def link(server: NatsServer) -> AsyncIterator[Link]:
    """Return the network between the service and the server."""
    link = Link("nats", server.port)
    await link.start()
    yield link
    await link.stop()


async def test_no_message_is_lost_to_a_request_from_before_a_reconnect(
    server: NatsServer, link: Link, greetings: Greetings
) -> None:
    """A lost one would be delivered again after the ack wait: `payments` recorded a payment 10 or 20 s late."""
    router, greeted, durable = (
        DurableRouter(),
        list[UUID](),
        Durable("tests-greet", greetings.command, greetings.stream),
    )

    @router.consume(durable)
    async def greet(command: greetings.command) -> None:  # type: ignore[name-defined]
        greeted.append(command.id)

    operator = ProvisionedBroker(server.url, streams=[greetings.stream])
    service = Broker(server.url_as("service", link.port), name="service", api_prefix=IMPORTED_API)
    service.include_router(router)
    try:
        await operator.start()
        await provision_consumers(operator.jetstream, [durable])
        await service.start()
        for number in range(1, 4):
            command = greetings.command(id=uuid4())
            await greetings.send(operator.jetstream, command)
            await eventually(lambda: len(greeted) == number)  # noqa: B023 - it is awaited in the loop
            link.set(Mode.CUT)
            link.set(Mode.OPEN)
            await eventually(lambda: not service.is_connected())
            await eventually(service.is_connected)
        info = await operator.jetstream.consumer_info(greetings.stream.name, durable.name)
        assert info.delivered is not None
        assert info.delivered.consumer_seq == len(greeted), "messages were delivered again"
    finally:
        await service.stop()
        await operator.stop()
