"""Which request it is: taken from the client or made, returned, and carried to services and into events."""

import re
from typing import Any
from uuid import uuid4

import httpx
import pytest

from apps.gateway.http.middleware import RequestId
from contracts.streams import PAYMENT_COMMANDS, PAYMENT_EVENTS, USER_EVENTS
from kit.runtime.tracing import Trace, trace
from tests.support.memory_store import MemoryStore
from tests.support.polling import eventually
from tests.support.store import Store, client_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


async def seen(headers: dict[str, str] | list[tuple[bytes, bytes]]) -> tuple[httpx.Response, Trace]:
    """Return the answer to a request with these headers, and what the request was to those who served it."""
    found: list[Trace] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        found.append(trace.get())
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async with client_of(RequestId(app)) as http:
        return await http.get("/", headers=headers), found[0]


@pytest.mark.parametrize("given", ["x", "A.b_c:d-9", "f" * 128])
async def test_a_request_id_is_taken_and_returned(given: str) -> None:
    answer, request = await seen({"X-Request-Id": given})
    assert (answer.headers["x-request-id"], request.request_id) == (given, given)


@pytest.mark.parametrize("given", ["", "f" * 129, "a b", "a\tb", "a,b", "<x>", "ä"])
async def test_what_is_no_request_id_is_replaced(given: str) -> None:
    answer, request = await seen([(b"X-Request-Id", given.encode())])
    assert answer.headers["x-request-id"] == request.request_id
    assert re.fullmatch(r"[0-9a-f]{32}", request.request_id)


async def test_without_a_request_id_each_request_has_its_own() -> None:
    one, other = (await seen({}))[1], (await seen({}))[1]
    assert one.request_id != other.request_id
    assert one.traceparent != other.traceparent


async def test_a_traceparent_is_taken() -> None:
    assert (await seen({"traceparent": PARENT}))[1].traceparent == PARENT


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
async def test_what_is_no_traceparent_begins_a_new_trace(given: str) -> None:
    _, request = await seen({"traceparent": given})
    assert request.traceparent != given
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", request.traceparent)


async def test_every_answer_names_its_request(store: Store) -> None:
    ada = await store.sign_up()
    for path, status in (("/users/me", 200), ("/nothing", 404), ("/users/1", 422), ("/health/live", 200)):
        answer = await ada.get(path, {"X-Request-Id": path.replace("/", ".")})
        assert (answer.status_code, answer.headers["x-request-id"]) == (status, path.replace("/", "."))
    known = await ada.get("/users/me", {"If-None-Match": "*"})
    assert (known.status_code, bool(known.headers["x-request-id"])) == (304, True)
    large = await store.http.post("/users", content=b"x" * ((1 << 20) + 1), headers={"X-Request-Id": "large"})
    assert (large.headers["x-request-id"], large.json()["requestId"]) == ("large", "large")


async def test_a_request_is_known_in_the_events_that_come_of_it(store: Store) -> None:
    ada = await store.sign_up()
    request = Trace(f"test-{uuid4()}", PARENT)
    await ada.ask("PATCH", f"/users/{ada.id}", request.headers(), json={"name": "Countess"})
    payment = (await ada.ask("POST", "/payments", request.headers(), json={"amount": 1})).json()
    await ada.recorded(payment["id"])
    if isinstance(store, MemoryStore):
        fakes = store.outbox
        origins = await eventually(lambda: [origin for _, origin in fakes.sent if origin == request][1:])
        assert origins == [request]
        return
    for stream, subject in ((USER_EVENTS, "user.updated"), (PAYMENT_EVENTS, "payment.created")):

        async def last(stream: str = stream.name, subject: str = subject) -> bool:
            message = await store.broker.jetstream.get_last_msg(stream, subject)
            return (message.headers or {}).get("X-Request-Id") == request.request_id

        await eventually(last)
        message = await store.broker.jetstream.get_last_msg(stream.name, subject)
        assert (message.headers or {})["traceparent"] == request.traceparent
        assert (message.headers or {})["ce-subject"] in {ada.id, payment["id"]}


async def test_a_request_is_known_in_the_command_that_it_leaves(store: Store) -> None:
    ada = await store.sign_up()
    request = Trace(f"test-{uuid4()}", PARENT)
    async with store.outages.away("payments"):
        payment = (await ada.ask("POST", "/payments", request.headers(), json={"amount": 1})).json()
        if isinstance(store, MemoryStore):
            assert [origin for _, origin in store.commands.pending.values()] == [request]
        else:
            subject = f"payments.create.{payment['id']}"
            kept = await store.broker.jetstream.get_last_msg(PAYMENT_COMMANDS.name, subject)
            assert (kept.headers or {}).items() >= request.headers().items()
    await ada.recorded(payment["id"])
