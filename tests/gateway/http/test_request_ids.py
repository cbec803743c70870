"""Request ids and traces: taken from the client or generated, returned, and passed to services and events."""

import re
from contextlib import suppress
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from nats.js.errors import NotFoundError

from contracts.payments import CreatePayments
from contracts.streams import PAYMENT_COMMANDS, PAYMENT_EVENTS, USER_EVENTS
from kit.runtime.tracing import Trace, trace
from tests.support.memory_store import MemoryStore
from tests.support.middleware import middleware
from tests.support.polling import eventually
from tests.support.store import Store, client_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


async def send(headers: dict[str, str] | list[tuple[bytes, bytes]]) -> tuple[httpx.Response, Trace]:
    """Return the response to a request with these headers, and the trace that its handler saw."""
    traces: list[Trace] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        traces.append(trace.get())
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async with client_of(middleware(app)) as http:
        return await http.get("/", headers=headers), traces[0]


@pytest.mark.parametrize("given", ["x", "A.b_c:d-9", "f" * 128])
async def test_valid_request_id_is_kept(given: str) -> None:
    response, request = await send({"X-Request-Id": given})
    assert (response.headers["x-request-id"], request.request_id) == (given, given)


@pytest.mark.parametrize("given", ["", "f" * 129, "a b", "a\tb", "a,b", "<x>", "ä"])
async def test_invalid_request_id_is_replaced(given: str) -> None:
    response, request = await send([(b"X-Request-Id", given.encode())])
    assert response.headers["x-request-id"] == request.request_id
    assert re.fullmatch(r"[0-9a-f]{32}", request.request_id)


async def test_each_request_gets_a_new_id() -> None:
    one, other = (await send({}))[1], (await send({}))[1]
    assert one.request_id != other.request_id
    assert one.traceparent != other.traceparent


async def test_valid_traceparent_is_kept() -> None:
    assert (await send({"traceparent": PARENT}))[1].traceparent == PARENT


@pytest.mark.parametrize(
    "given",
    [
        "",
        "x",
        PARENT.upper(),
        PARENT[:-1],
        PARENT + "-00",
        PARENT.replace("00-4", "ff-4"),
        PARENT.replace("4bf92f3577b34da6a3ce929d0e0e4736", "0" * 32),
        PARENT.replace("00f067aa0ba902b7", "0" * 16),
    ],
)
async def test_invalid_traceparent_begins_a_new_trace(given: str) -> None:
    _, request = await send({"traceparent": given})
    assert request.traceparent != given
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", request.traceparent)


async def test_every_response_has_its_request_id(store: Store) -> None:
    ada = await store.sign_up()
    for path, status in (("/users/me", 200), ("/nothing", 404), ("/users/1", 422), ("/health/live", 200)):
        response = await ada.get(path, {"X-Request-Id": path.replace("/", ".")})
        assert (response.status_code, response.headers["x-request-id"]) == (status, path.replace("/", "."))
    known = await ada.get("/users/me", {"If-None-Match": "*"})
    assert (known.status_code, bool(known.headers["x-request-id"])) == (304, True)
    large = await store.http.post("/users", content=b"x" * ((1 << 20) + 1), headers={"X-Request-Id": "large"})
    assert (large.headers["x-request-id"], large.json()["requestId"]) == ("large", "large")


async def test_events_carry_the_request_id(store: Store) -> None:
    ada = await store.sign_up()
    request = Trace(f"test-{uuid4()}", PARENT)
    await ada.request("PATCH", f"/users/{ada.id}", request.headers(), json={"name": "Countess"})
    payment = (await ada.request("POST", "/payments", request.headers(), json={"amount": 1})).json()
    await ada.recorded(payment["id"])
    if isinstance(store, MemoryStore):
        await store.memory.settled()
        origin = request.headers().items()
        traced = [each.subject for each in store.memory.streams.published if origin <= each.headers.items()]
        assert traced == ["user.updated", "payment.created"]
        return
    for stream, subject in ((USER_EVENTS, "user.updated"), (PAYMENT_EVENTS, "payment.created")):

        async def last(stream: str = stream.name, subject: str = subject) -> bool:
            with suppress(NotFoundError):  # none is published yet
                message = await store.broker.jetstream.get_last_msg(stream, subject)
                return (message.headers or {}).get("X-Request-Id") == request.request_id
            return False

        await eventually(last)
        message = await store.broker.jetstream.get_last_msg(stream.name, subject)
        assert (message.headers or {})["traceparent"] == request.traceparent
        assert (message.headers or {})["ce-subject"] in {ada.id, payment["id"]}


async def test_command_carries_the_request_id(store: Store) -> None:
    ada = await store.sign_up()
    request = Trace(f"test-{uuid4()}", PARENT)
    async with store.outages.away("payments"):
        payment = (await ada.request("POST", "/payments", request.headers(), json={"amount": 1})).json()
        if isinstance(store, MemoryStore):
            assert [origin for _, origin in store.queue.pending.values()] == [request]
        else:
            subject = CreatePayments.address_with(UUID(payment["id"]))
            kept = await store.broker.jetstream.get_last_msg(PAYMENT_COMMANDS.name, subject)
            [item] = CreatePayments.model_validate_json(kept.data or b"").items
            assert Trace(item.request_id, item.traceparent) == request
    await ada.recorded(payment["id"])
