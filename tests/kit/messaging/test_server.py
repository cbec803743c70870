"""Every request is answered: with a reply, or with a problem that says why there is none."""

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


@pytest.fixture
async def halve(new_broker: NewBroker) -> type[Halve]:
    """Answer requests of this test alone."""

    class OwnHalve(Halve):
        subject: ClassVar[str] = f"{uuid4().hex}.halve"

    router = ReplyRouter()

    @router.reply(OwnHalve, workers=4)
    async def answer(request: OwnHalve) -> Half:
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


async def test_a_request_is_answered_and_carries_its_id(broker: Broker, halve: type[Halve]) -> None:
    tracing.set_trace({REQUEST_ID: "r1"})
    assert await RequestClient(broker).request(halve(number=3)) == Half(half=1.5, request_id="r1")


@pytest.mark.parametrize("body", [b"", b"no json", b"{", b"\xff\xfe", b"null", b"[]", b'"text"', b"{}"])
@pytest.mark.parametrize("content_type", [None, "application/json", "text/plain"])
async def test_what_cannot_be_read_is_answered_with_a_problem(
    broker: Broker, halve: type[Halve], body: bytes, content_type: str | None
) -> None:
    headers = {"content-type": content_type} if content_type else None
    reply = await broker.client.request(halve.subject, body, timeout=2, headers=headers)
    assert (reply.headers or {})[SERVICE_ERROR] == "invalid-request"
    assert (reply.headers or {})[SERVICE_ERROR_CODE] == "invalid"
    problem = Problem.model_validate_json(reply.data)
    assert (problem.kind, problem.slug) == (ErrorKind.INVALID, "invalid-request")
    assert (await RequestClient(broker).request(halve(number=2))).half == 1


async def test_a_refusal_arrives_as_it_was_meant(broker: Broker, halve: type[Halve]) -> None:
    with pytest.raises(RemoteProblem) as refused:
        await RequestClient(broker).request(halve(number=13))
    problem = refused.value.problem()
    assert (problem.kind, problem.slug) == (ErrorKind.INVALID, "invalid-request")
    assert [(error.pointer, error.code) for error in problem.errors] == [("/number", "unlucky")]


async def test_a_failure_tells_nothing_of_what_is_inside(broker: Broker, halve: type[Halve]) -> None:
    with pytest.raises(RemoteProblem) as refused:
        await RequestClient(broker).request(halve(number=14))
    assert (refused.value.problem().kind, refused.value.problem().slug) == (ErrorKind.INTERNAL, "internal-error")
    assert "hunter2" not in refused.value.problem().model_dump_json()


async def test_nobody_there_and_no_answer_in_time_are_told_apart(broker: Broker, halve: type[Halve]) -> None:
    with pytest.raises(OutcomeUnknown):
        await RequestClient(broker).request(halve(number=15), timeout=0.2)

    class Elsewhere(Halve):
        subject: ClassVar[str] = f"{uuid4().hex}.halve"

    with pytest.raises(Unavailable):
        await RequestClient(broker).request(Elsewhere(number=1))
