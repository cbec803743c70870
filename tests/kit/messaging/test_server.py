"""Every request gets a reply: a result, or a problem with the reason."""

import asyncio
import time
from typing import ClassVar
from uuid import uuid4

import pytest
from faststream.nats import TestNatsBroker
from nats.errors import TimeoutError as NatsTimeoutError

from contracts.base import Message, Request
from contracts.errors import ErrorKind, Problem
from contracts.headers import DEADLINE, REQUEST_ID, SERVICE_ERROR, SERVICE_ERROR_CODE
from kit.errors import InvalidField, OutcomeUnknown, RemoteProblem, Unavailable
from kit.messaging.broker import Broker
from kit.messaging.client import RequestClient
from kit.messaging.server import ReplyRouter
from kit.messaging.stats import request_stats
from kit.runtime import tracing
from tests.kit.conftest import NewBroker


class Half(Message):
    half: float
    request_id: str


class Halve(Request[Half]):
    subject: ClassVar[str]
    number: int


_TIMEOUT = 30
"""Seconds to wait for a reply that arrives."""


def _client(broker: Broker) -> RequestClient:
    return RequestClient(broker, timeout=_TIMEOUT)


def halve_router() -> tuple[type[Halve], ReplyRouter]:
    """Return a request of one test, and the router of a service that replies to it."""

    class OwnHalve(Halve):
        subject: ClassVar[str] = f"{uuid4().hex}.halve"

    router = ReplyRouter()

    @router.reply(OwnHalve, workers=4)
    async def halve(request: OwnHalve) -> Half:
        if request.number == 13:
            raise InvalidField("number", "unlucky", "Input should be another number")
        if request.number == 14:
            raise LookupError("password hunter2")
        if request.number == 15:
            await asyncio.sleep(1)
        if request.number == 16:
            Half.model_validate({})
        if request.number == 17:
            return Half(half=1, request_id="x" * 2_000_000)
        return Half(half=request.number / 2, request_id=tracing.trace.get().request_id)

    return OwnHalve, router


@pytest.fixture
async def halve(new_broker: NewBroker) -> type[Halve]:
    """Start a service that replies to a request of this test; return the request."""
    request, router = halve_router()
    service = new_broker()
    service.include_router(router)
    await service.start()
    await service.check()
    return request


async def test_reply_carries_the_request_id(broker: Broker, halve: type[Halve]) -> None:
    tracing.set_trace({REQUEST_ID: "r1"})
    assert await _client(broker).request(halve(number=3)) == Half(half=1.5, request_id="r1")


async def test_unreadable_request_gets_a_problem_as_reply(broker: Broker, halve: type[Halve]) -> None:
    for body in (b"", b"no json", b"{", b"\xff\xfe", b"null", b"[]", b'"text"', b"{}"):
        for content_type in (None, "application/json", "text/plain"):
            headers = {"content-type": content_type} if content_type else None
            reply = await broker.client.request(halve.subject, body, timeout=_TIMEOUT, headers=headers)
            assert (reply.headers or {})[SERVICE_ERROR] == "invalid-request", (body, content_type)
            assert (reply.headers or {})[SERVICE_ERROR_CODE] == "invalid"
            problem = Problem.model_validate_json(reply.data)
            assert (problem.kind, problem.slug) == (ErrorKind.INVALID, "invalid-request")
    assert (await _client(broker).request(halve(number=2))).half == 1


_BODIES = (b"", b"{", b"\xff", b"null", b"{}", b'{"number": "x"}', *(b'{"number": %d}' % n for n in (2, 13, 14, 16)))
_HEADERS: tuple[dict[str, str], ...] = (
    {"content-type": "application/json"},
    {"content-type": "text/plain"},
    {"content-type": "application/json", REQUEST_ID: "r1", "correlation_id": "c1"},
)


async def test_replies_in_memory_are_those_on_nats(broker: Broker, halve: type[Halve]) -> None:
    request, router = halve_router()
    in_memory = Broker("nats://127.0.0.1:1", name="test")
    in_memory.include_router(router)
    async with TestNatsBroker(in_memory):
        for body in _BODIES:
            for headers in _HEADERS:
                real = await broker.client.request(halve.subject, body, timeout=_TIMEOUT, headers=headers)
                fake = await in_memory.request(body, request.subject, headers=headers, timeout=_TIMEOUT)
                assert fake.body == real.data
                ids = [each.pop("correlation_id") for each in (fake.headers, real.headers or {})]
                assert fake.headers == real.headers
                assert fake.headers["content-type"] == "application/json"
                assert all(ids)
                if "correlation_id" in headers:
                    assert ids == ["c1", "c1"]


async def test_every_reply_is_counted_by_its_subject(broker: Broker, halve: type[Halve]) -> None:
    for body in _BODIES:
        await broker.client.request(halve.subject, body, timeout=_TIMEOUT)
    stats = request_stats[halve.subject]
    assert (stats.requests, stats.errors) == (len(_BODIES), len(_BODIES) - 1)
    assert stats.last_error == "internal:internal-error"
    assert stats.average > 0


@pytest.mark.parametrize("number", [16, 17], ids=["validation error of the handler", "reply too large"])
async def test_failure_of_the_service_is_not_the_callers(broker: Broker, halve: type[Halve], number: int) -> None:
    with pytest.raises(RemoteProblem) as refused:
        await _client(broker).request(halve(number=number))
    assert refused.value.problem().slug == "internal-error"


async def test_burst_is_handled_by_a_bounded_number_of_workers(broker: Broker, new_broker: NewBroker) -> None:
    class Wait(Halve):
        subject: ClassVar[str] = f"{uuid4().hex}.wait"

    router = ReplyRouter()
    running: set[int] = set()
    most: list[int] = []

    @router.reply(Wait, workers=4)
    async def wait(request: Wait) -> Half:
        running.add(request.number)
        most.append(len(running))
        await asyncio.sleep(0)
        running.discard(request.number)
        return Half(half=request.number, request_id="")

    service = new_broker()
    service.include_router(router)
    await service.start()
    await service.check()
    replies = await asyncio.gather(*(_client(broker).request(Wait(number=n)) for n in range(100)))
    assert [reply.half for reply in replies] == list(range(100))
    assert 1 < max(most) <= 4


def test_handler_with_a_parameter_that_nothing_provides_is_refused() -> None:
    async def handler(request: Halve, unknown: int) -> Half:
        raise AssertionError((request, unknown))

    class Own(Halve):
        subject: ClassVar[str] = "tests.halve"

    with pytest.raises(TypeError, match="not provided: unknown"):
        ReplyRouter().reply(Own)(handler)


async def test_refusal_keeps_its_kind_and_errors(broker: Broker, halve: type[Halve]) -> None:
    with pytest.raises(RemoteProblem) as refused:
        await _client(broker).request(halve(number=13))
    problem = refused.value.problem()
    assert (problem.kind, problem.slug) == (ErrorKind.INVALID, "invalid-request")
    assert [(error.pointer, error.code) for error in problem.errors] == [("/number", "unlucky")]


async def test_failure_reveals_no_internals(broker: Broker, halve: type[Halve]) -> None:
    with pytest.raises(RemoteProblem) as refused:
        await _client(broker).request(halve(number=14))
    assert (refused.value.problem().kind, refused.value.problem().slug) == (ErrorKind.INTERNAL, "internal-error")
    assert "hunter2" not in refused.value.problem().model_dump_json()


async def test_missing_service_and_late_reply_raise_different_errors(broker: Broker, halve: type[Halve]) -> None:
    with pytest.raises(OutcomeUnknown):
        await _client(broker).request(halve(number=15), timeout=0.2)

    class Elsewhere(Halve):
        subject: ClassVar[str] = f"{uuid4().hex}.halve"

    with pytest.raises(Unavailable):
        await _client(broker).request(Elsewhere(number=1))


async def test_late_request_is_not_handled(new_broker: NewBroker, broker: Broker) -> None:
    request, router = halve_router()
    service = new_broker()
    service.include_router(router)
    await service.start()
    now = time.time()
    deadlines = {
        "past": str(int((now - 0.001) * 1000)),
        "future": str(int((now + 60) * 1000)),
        "none": "",
        "text": "x",
        "long": "9" * 320,
        "longer": "9" * 5000,
    }
    replied = []
    for name, deadline in deadlines.items():
        try:
            await broker.client.request(
                request.subject, b'{"number": 4}', timeout=1, headers={DEADLINE: deadline} if deadline else None
            )
        except NatsTimeoutError:
            continue
        replied.append(name)
    assert replied == ["future", "none", "text", "long", "longer"]
    assert request_stats[request.subject].last_error == "late"


async def test_request_carries_the_deadline_of_its_sender(broker: Broker) -> None:
    request, _ = halve_router()
    arrived = await broker.client.subscribe(request.subject, max_msgs=1)
    before = time.time()
    with pytest.raises(OutcomeUnknown):
        await RequestClient(broker, timeout=0.5).request(request(number=4))
    message = await arrived.next_msg()
    assert message.headers is not None
    assert before + 0.5 - 0.001 <= int(message.headers[DEADLINE]) / 1000 <= time.time() + 0.5
