"""Every process responds to the discovery requests of NATS ADR-32."""

import asyncio
import hashlib
import json
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from uuid import uuid4

import nats
import pytest
from faststream.nats import TestNatsBroker
from nats.aio.client import Client
from nats.errors import ConnectionClosedError, NoRespondersError
from nats.errors import TimeoutError as NatsTimeout
from nats.micro.service import ServiceInfo, ServicePing
from structlog.testing import capture_logs

from contracts.base import Message, Request
from kit.asyncapi.specification import VERSION, Document, ServiceSpecification
from kit.errors import InvalidField
from kit.messaging.broker import Broker
from kit.messaging.discovery import PREPARE_DELAY, Discovery
from kit.messaging.server import ReplyRouter
from mkstore.stack.servers import NatsServer
from tests.kit.conftest import NewBroker
from tests.support.polling import eventually

_TIMEOUT = 30
"""Seconds to wait for a response."""
DOCUMENT = {"asyncapi": "3.0.0", "info": {"title": "the größte"}}
DOCUMENT_TEXT = '{\n  "asyncapi": "3.0.0",\n  "info": {\n    "title": "the größte"\n  }\n}\n'
SHA256 = hashlib.sha256(DOCUMENT_TEXT.encode()).hexdigest()
ABOUT = "The tests: halve numbers.\n\n    Owns: nothing."


class Half(Message):
    half: float


class Halve(Request[Half]):
    """Halve a number;
    thirteen is refused.

    The result is not rounded.
    """

    subject: ClassVar[str] = "halve"
    number: int


class CountedSpecification(ServiceSpecification):
    """A specification that counts how often it is generated, and can fail."""

    def __init__(self, name: str) -> None:
        super().__init__(name, ABOUT)
        self.generated = 0
        self.broken = False

    def to_specification(self) -> Document:
        if self.broken:
            raise ValueError("two operations have the same name")
        self.generated += 1
        return Document(DOCUMENT)


class Service:
    """One process of a service, with a separate connection."""

    def __init__(self, broker: Broker, name: str, *, prepare_delay: float = PREPARE_DELAY) -> None:
        self.subject = f"{name}.halve"
        self.documented = CountedSpecification(name)
        self.broker = broker
        router = ReplyRouter()

        class OwnHalve(Halve):
            __doc__ = Halve.__doc__
            subject: ClassVar[str] = f"{name}.halve"

        OwnHalve.__name__ = "Halve"

        @router.reply(OwnHalve, workers=4)
        async def halve(request: OwnHalve) -> Half:
            if request.number == 13:
                raise InvalidField("number", "unlucky", "Input should be another number")
            return Half(half=request.number / 2)

        broker.include_router(router)
        url = "https://store.example/asyncapi/"
        self.discovery = Discovery(broker, name, self.documented, url, prepare_delay=prepare_delay)

    async def start(self) -> "Service":
        await self.broker.start()
        await self.discovery.start()
        for _ in range(2):  # nats-py writes a PING ahead of buffered commands
            await self.broker.client.flush()
        return self


@pytest.fixture
def name() -> str:
    return f"t{uuid4().hex}"


@pytest.fixture
async def service(new_broker: NewBroker, name: str) -> AsyncIterator[Service]:
    service = await Service(new_broker(), name).start()
    yield service
    await service.discovery.stop()


async def discover(broker: Broker, subject: str) -> dict[str, Any]:
    """Return the first response to a discovery request."""
    response: dict[str, Any] = json.loads((await broker.client.request(f"$SRV.{subject}", timeout=_TIMEOUT)).data)
    return response


async def discover_all(broker: Broker, subject: str, name: str, count: int) -> list[dict[str, Any]]:
    """Return the responses of the processes with this name, once there are `count` of them."""
    inbox = broker.client.new_inbox()
    subscription = await broker.client.subscribe(inbox)
    await broker.client.publish(f"$SRV.{subject}", reply=inbox)
    responses: list[dict[str, Any]] = []
    while len(responses) < count:
        response = json.loads((await subscription.next_msg(timeout=_TIMEOUT)).data)
        responses += [response] if response["name"] == name else []  # other services are on the same server
    with pytest.raises(NatsTimeout):  # no process responds twice
        assert json.loads((await subscription.next_msg(timeout=0.05)).data)["name"] != name
    await subscription.unsubscribe()
    return responses


@pytest.mark.parametrize("verb", ["PING", "INFO", "STATS"])
async def test_process_responds_to_requests_by_name_and_by_id(
    new_broker: NewBroker, service: Service, name: str, verb: str
) -> None:
    other = await Service(new_broker(), name).start()
    ids = {service.discovery.id, other.discovery.id}
    assert len(ids) == 2
    for subject in (verb, f"{verb}.{name}"):
        assert {response["id"] for response in await discover_all(service.broker, subject, name, 2)} == ids
    for each in ids:
        (response,) = await discover_all(service.broker, f"{verb}.{name}.{each}", name, 1)
        assert response["id"] == each
    with pytest.raises(NoRespondersError):
        await service.broker.client.request(f"$SRV.{verb}.{name}.else", timeout=_TIMEOUT)
    await other.discovery.stop()


async def test_responses_have_the_fields_of_the_standard(service: Service, name: str) -> None:
    identity = {
        "name": name,
        "id": service.discovery.id,
        "version": VERSION,
        "metadata": {"asyncapi.sha256": SHA256, "asyncapi.url": f"https://store.example/asyncapi/{name}.json"},
    }
    endpoint = {"name": "Halve", "subject": service.subject, "queue_group": name}
    assert await discover(service.broker, f"PING.{name}") == {"type": "io.nats.micro.v1.ping_response", **identity}
    metadata = {
        "request": "Halve",
        "reply": "Half",
        "description": "Halve a number; thirteen is refused.",
        "asyncapi.operation": f"{name}.replies.Halve",
    }
    assert await discover(service.broker, f"INFO.{name}") == {
        "type": "io.nats.micro.v1.info_response",
        **identity,
        "description": "The tests: halve numbers.",
        "endpoints": [{**endpoint, "metadata": metadata}],
    }
    stats = await discover(service.broker, f"STATS.{name}")
    started = datetime.fromisoformat(stats.pop("started"))
    assert timedelta() <= datetime.now(UTC) - started < timedelta(seconds=30)
    figures = {"num_requests": 0, "num_errors": 0, "processing_time": 0, "average_processing_time": 0}
    assert stats == {
        "type": "io.nats.micro.v1.stats_response",
        **identity,
        "endpoints": [{**endpoint, **figures, "last_error": ""}],
    }


async def test_nats_py_parses_the_responses(service: Service, name: str) -> None:
    info = ServiceInfo.from_dict(await discover(service.broker, f"INFO.{name}"))
    ping = ServicePing.from_dict(await discover(service.broker, f"PING.{name}"))
    assert (info.id, ping.id) == (service.discovery.id, service.discovery.id)
    assert info.endpoints[0].subject == service.subject
    started = (await discover(service.broker, f"STATS.{name}"))["started"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", started)  # nats-py reads no other form of RFC 3339


async def test_statistics_count_replies_and_contain_no_request_data(service: Service, name: str) -> None:
    client = service.broker.client
    for body in (b'{"number": 8}', b'{"number": 13}', b'{"number": "hunter2"}', b"hunter2"):
        await client.request(service.subject, body, timeout=_TIMEOUT)
    response = await discover(service.broker, f"STATS.{name}")
    (stats,) = response["endpoints"]
    assert (stats["num_requests"], stats["num_errors"], stats["last_error"]) == (4, 3, "invalid:invalid-request")
    assert 0 < stats["processing_time"] < 5e9
    assert stats["average_processing_time"] == stats["processing_time"] // 4
    assert "hunter2" not in json.dumps(response)


async def test_document_is_generated_once_and_not_during_the_start(service: Service, name: str) -> None:
    assert service.documented.generated == 0
    verbs = ["PING", "INFO", "STATS"] * 3
    await asyncio.gather(*(discover(service.broker, f"{verb}.{name}") for verb in verbs))
    assert service.documented.generated == 1


async def test_document_is_prepared_before_the_first_request(new_broker: NewBroker, name: str) -> None:
    service = await Service(new_broker(), name, prepare_delay=0.01).start()
    await eventually(lambda: service.documented.generated == 1)
    await service.discovery.stop()


async def test_process_works_without_its_document(new_broker: NewBroker, name: str) -> None:
    service = Service(new_broker(), name)
    service.documented.broken = True
    await service.start()
    info = await discover(service.broker, f"INFO.{name}")
    assert info["metadata"] == {"asyncapi.url": f"https://store.example/asyncapi/{name}.json"}
    reply = await service.broker.client.request(service.subject, b'{"number": 4}', timeout=_TIMEOUT)
    assert json.loads(reply.data) == {"half": 2}
    await service.discovery.stop()


class DisconnectedBroker(Broker):
    """A broker whose client is closed."""

    def __init__(self, client: Client) -> None:
        super().__init__("nats://127.0.0.1:1", name="test")
        self.closed_client = client

    @property
    def client(self) -> Client:
        return self.closed_client


async def test_process_works_without_discovery(new_broker: NewBroker, name: str, nats_server: NatsServer) -> None:
    service = Service(new_broker(), name)
    await service.broker.start()
    closed = await nats.connect(nats_server.url)
    await closed.close()
    discovery = Discovery(DisconnectedBroker(closed), name, service.documented, "https://store.example/")
    with capture_logs() as logs:
        await discovery.start()
    assert [entry["event"] for entry in logs] == ["service discovery failed"]
    with pytest.raises(NoRespondersError):
        await discover(service.broker, f"PING.{name}")
    reply = await service.broker.client.request(service.subject, b'{"number": 4}', timeout=_TIMEOUT)
    assert json.loads(reply.data) == {"half": 2}
    await discovery.stop()


async def test_process_is_discoverable_after_a_reconnect(
    new_broker: NewBroker, name: str, own_server: NatsServer
) -> None:
    await asyncio.to_thread(own_server.start)
    service = await Service(new_broker(own_server.url), name).start()
    await asyncio.to_thread(own_server.kill)
    await asyncio.to_thread(own_server.start)

    async def is_discoverable() -> bool:
        try:
            return bool((await discover(service.broker, f"INFO.{name}"))["id"] == service.discovery.id)
        except (NoRespondersError, ConnectionClosedError, NatsTimeout):
            return False

    await eventually(is_discoverable)
    await service.discovery.stop()


async def test_stopped_process_does_not_respond(new_broker: NewBroker, broker: Broker, name: str) -> None:
    service = await Service(new_broker(), name).start()
    assert await discover(broker, f"PING.{name}")
    await service.discovery.stop()
    await service.broker.stop()
    with pytest.raises(NoRespondersError):
        await discover(broker, f"PING.{name}")


async def test_discovery_does_nothing_in_memory(name: str) -> None:
    service = Service(Broker("nats://127.0.0.1:1", name="test"), name)
    async with TestNatsBroker(service.broker):
        await service.discovery.start()
        await service.discovery.stop()
