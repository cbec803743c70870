"""Every request gets a reply: a result, or a problem with the reason."""

import asyncio
from typing import ClassVar
from uuid import uuid4

import pytest

from contracts.base import Message, Request
from contracts.errors import ErrorKind, Problem
from contracts.headers import REQUEST_ID, SERVICE_ERROR, SERVICE_ERROR_CODE
from kit.errors import InvalidField, OutcomeUnknown, RemoteProblem, Unavailable
from kit.messaging.broker import Broker
from kit.messaging.client import RequestClient
from kit.messaging.server import ReplyRouter
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


@pytest.fixture
async def halve(new_broker: NewBroker) -> type[Halve]:
    """Start a service that replies to a request of this test; return the request."""

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
        return Half(half=request.number / 2, request_id=tracing.trace.get().request_id)

    service = new_broker()
    service.include_router(router)
    await service.start()
    await service.check()
    return OwnHalve


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
