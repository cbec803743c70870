"""Every process responds to the discovery requests of NATS ADR-32."""

import asyncio
import hashlib
import json
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from uuid import uuid4

import pytest
from faststream.nats import TestNatsBroker
from nats.errors import ConnectionClosedError, NoRespondersError
from nats.errors import TimeoutError as NatsTimeout
from nats.micro.service import ServiceInfo, ServicePing

from contracts.base import Message, Request
from kit.asyncapi.specification import VERSION, Document, ServiceSpecification
from kit.errors import InvalidField
from kit.messaging.broker import Broker
from kit.messaging.discovery import PREPARE_DELAY, Discovery
from kit.messaging.server import ReplyRouter
from mkstore.stack.servers import NatsServer
from tests.kit.conftest import NewBroker
from tests.support.polling import eventually

DOCUMENT = {"asyncapi": "3.0.0", "info": {"title": "the größte"}}
WRITTEN = '{\n  "asyncapi": "3.0.0",\n  "info": {\n    "title": "the größte"\n  }\n}\n'
SHA256 = hashlib.sha256(WRITTEN.encode()).hexdigest()
ABOUT = "The tests: they halve.\n\n    Owns: nothing."


class Half(Message):
    half: float


class Halve(Request[Half]):
    """Halve a number;
    any one but thirteen.

    It is never rounded.
    """

    subject: ClassVar[str] = "halve"
    number: int


class Told(ServiceSpecification):
    """A document that is counted, or that cannot be made."""

    def __init__(self, name: str) -> None:
        super().__init__(name, ABOUT)
        self.made = 0
        self.broken = False

    def to_specification(self) -> Document:
        if self.broken:
            raise ValueError("two operations have the same name")
        self.made += 1
        return Document(DOCUMENT)


class Service:
    """One process of a service of this test, with a separate connection."""

    def __init__(self, broker: Broker, name: str, *, prepare_delay: float = PREPARE_DELAY) -> None:
        self.subject = f"{name}.halve"
        self.documented = Told(name)
        self.broker = broker
        router = ReplyRouter()

        class OwnHalve(Halve):
            __doc__ = Halve.__doc__
            subject: ClassVar[str] = f"{name}.halve"

        OwnHalve.__name__ = "Halve"

        @router.reply(OwnHalve, workers=4)
        async def answer(request: OwnHalve) -> Half:
            if request.number == 13:
                raise InvalidField("number", "unlucky", "Input should be another number")
            return Half(half=request.number / 2)

        broker.include_router(router)
        url = "https://store.example/asyncapi/"
        self.discovery = Discovery(broker, name, self.documented, url, prepare_delay=prepare_delay)

    async def start(self) -> "Service":
        await self.broker.start()
        await self.discovery.start()
        for _ in range(2):  # nats-py's ping overtakes what it has not written yet
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


async def asked(broker: Broker, subject: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads((await broker.client.request(f"$SRV.{subject}", timeout=5)).data)
    return answer


async def all_asked(broker: Broker, subject: str, name: str, count: int) -> list[dict[str, Any]]:
    """Return the responses of the processes with this name, once there are `count` of them."""
    inbox = broker.client.new_inbox()
    subscription = await broker.client.subscribe(inbox)
    await broker.client.publish(f"$SRV.{subject}", reply=inbox)
    found: list[dict[str, Any]] = []
    while len(found) < count:
        answer = json.loads((await subscription.next_msg(timeout=5)).data)
        found += [answer] if answer["name"] == name else []  # others are on the same server
    with pytest.raises(NatsTimeout):  # nobody answers twice
        assert json.loads((await subscription.next_msg(timeout=0.05)).data)["name"] != name
    await subscription.unsubscribe()
    return found


@pytest.mark.parametrize("verb", ["PING", "INFO", "STATS"])
async def test_every_process_answers_to_all_to_its_name_and_to_its_id(
    new_broker: NewBroker, service: Service, name: str, verb: str
) -> None:
    other = await Service(new_broker(), name).start()
    ids = {service.discovery.id, other.discovery.id}
    assert len(ids) == 2
    for subject in (verb, f"{verb}.{name}"):
        assert {answer["id"] for answer in await all_asked(service.broker, subject, name, 2)} == ids
    for each in ids:
        (answer,) = await all_asked(service.broker, f"{verb}.{name}.{each}", name, 1)
        assert answer["id"] == each
    with pytest.raises(NoRespondersError):
        await service.broker.client.request(f"$SRV.{verb}.{name}.else", timeout=5)
    await other.discovery.stop()


async def test_the_answers_are_those_of_the_standard_field_by_field(service: Service, name: str) -> None:
    identity = {
        "name": name,
        "id": service.discovery.id,
        "version": VERSION,
        "metadata": {"asyncapi.sha256": SHA256, "asyncapi.url": f"https://store.example/asyncapi/{name}.json"},
    }
    endpoint = {"name": "Halve", "subject": service.subject, "queue_group": name}
    assert await asked(service.broker, f"PING.{name}") == {"type": "io.nats.micro.v1.ping_response", **identity}
    metadata = {
        "request": "Halve",
        "reply": "Half",
        "description": "Halve a number; any one but thirteen.",
        "asyncapi.operation": f"{name}.replies.Halve",
    }
    assert await asked(service.broker, f"INFO.{name}") == {
        "type": "io.nats.micro.v1.info_response",
        **identity,
        "description": "The tests: they halve.",
        "endpoints": [{**endpoint, "metadata": metadata}],
    }
    stats = await asked(service.broker, f"STATS.{name}")
    started = datetime.fromisoformat(stats.pop("started"))
    assert timedelta() <= datetime.now(UTC) - started < timedelta(seconds=30)
    figures = {"num_requests": 0, "num_errors": 0, "processing_time": 0, "average_processing_time": 0}
    assert stats == {
        "type": "io.nats.micro.v1.stats_response",
        **identity,
        "endpoints": [{**endpoint, **figures, "last_error": ""}],
    }


async def test_other_clients_understand_the_answers(service: Service, name: str) -> None:
    info = ServiceInfo.from_dict(await asked(service.broker, f"INFO.{name}"))
    ping = ServicePing.from_dict(await asked(service.broker, f"PING.{name}"))
    assert (info.id, ping.id) == (service.discovery.id, service.discovery.id)
    assert info.endpoints[0].subject == service.subject
    started = (await asked(service.broker, f"STATS.{name}"))["started"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", started)  # nats-py reads no other form of RFC 3339


async def test_what_was_answered_is_counted_and_tells_nothing_that_was_sent(service: Service, name: str) -> None:
    client = service.broker.client
    for body in (b'{"number": 8}', b'{"number": 13}', b'{"number": "hunter2"}', b"hunter2"):
        await client.request(service.subject, body, timeout=5)
    answer = await asked(service.broker, f"STATS.{name}")
    (stats,) = answer["endpoints"]
    assert (stats["num_requests"], stats["num_errors"], stats["last_error"]) == (4, 3, "invalid:invalid-request")
    assert 0 < stats["processing_time"] < 5e9
    assert stats["average_processing_time"] == stats["processing_time"] // 4
    assert "hunter2" not in json.dumps(answer)


async def test_the_document_is_made_once_and_not_while_the_process_starts(service: Service, name: str) -> None:
    assert service.documented.made == 0
    verbs = ["PING", "INFO", "STATS"] * 3
    await asyncio.gather(*(asked(service.broker, f"{verb}.{name}") for verb in verbs))
    assert service.documented.made == 1


async def test_document_is_prepared_before_the_first_request(new_broker: NewBroker, name: str) -> None:
    service = await Service(new_broker(), name, prepare_delay=0.01).start()
    await eventually(lambda: service.documented.made == 1)
    await service.discovery.stop()


async def test_a_process_without_its_document_goes_on_working(new_broker: NewBroker, name: str) -> None:
    service = Service(new_broker(), name)
    service.documented.broken = True
    await service.start()
    info = await asked(service.broker, f"INFO.{name}")
    assert info["metadata"] == {"asyncapi.url": f"https://store.example/asyncapi/{name}.json"}
    reply = await service.broker.client.request(service.subject, b'{"number": 4}', timeout=5)
    assert json.loads(reply.data) == {"half": 2}
    await service.discovery.stop()


async def test_a_process_that_cannot_be_discovered_goes_on_working(
    new_broker: NewBroker, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service(new_broker(), name)
    await service.broker.start()

    async def refuse(*_: object, **__: object) -> None:
        raise ConnectionClosedError

    with monkeypatch.context() as patch:
        patch.setattr(service.broker.client, "subscribe", refuse)
        await service.discovery.start()
    reply = await service.broker.client.request(service.subject, b'{"number": 4}', timeout=5)
    assert json.loads(reply.data) == {"half": 2}
    await service.discovery.stop()


async def test_it_is_found_again_after_nats_was_away(new_broker: NewBroker, name: str, own_server: NatsServer) -> None:
    await asyncio.to_thread(own_server.start)
    service = await Service(new_broker(own_server.url), name).start()
    await asyncio.to_thread(own_server.kill)
    await asyncio.to_thread(own_server.start)

    async def found() -> bool:
        try:
            return bool((await asked(service.broker, f"INFO.{name}"))["id"] == service.discovery.id)
        except (NoRespondersError, ConnectionClosedError, NatsTimeout):
            return False

    await eventually(found)
    await service.discovery.stop()


async def test_it_goes_with_its_connection(new_broker: NewBroker, broker: Broker, name: str) -> None:
    service = await Service(new_broker(), name).start()
    assert await asked(broker, f"PING.{name}")
    await service.discovery.stop()
    await service.broker.stop()
    with pytest.raises(NoRespondersError):
        await asked(broker, f"PING.{name}")


async def test_in_memory_nobody_is_asked_and_nothing_fails(name: str) -> None:
    service = Service(Broker("nats://127.0.0.1:1", name="test"), name)
    async with TestNatsBroker(service.broker):
        await service.discovery.start()
        await service.discovery.stop()
