"""One trace leads from an HTTP request through NATS, the handlers, SQL and the outbox to the event stream."""

import asyncio
import re
from collections.abc import Iterator
from uuid import uuid4

import pytest
from opentelemetry.trace import SpanKind, StatusCode

from kit.runtime import spans
from tests.conftest import Gear
from tests.support.polling import eventually
from tests.support.recorded_spans import RecordedSpans, context, recorded_spans
from tests.support.store import SignedInUser, Store
from tests.support.users_harness import PASSWORD

CREDENTIALS = {"email": "nobody@example.com", "password": "not the password"}


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module", autouse=True)
def recorded() -> Iterator[RecordedSpans]:
    """Record before the store starts: its pools ask when they connect."""
    with recorded_spans() as recording:
        yield recording


async def pay(ada: SignedInUser, key: str | None = None) -> str:
    """Pay, and return the id of the request."""
    request_id = uuid4().hex
    headers = {"X-Request-Id": request_id, "Prefer": "wait=20"} | ({"Idempotency-Key": key} if key else {})
    response = await ada.request("POST", "/payments", headers, json={"amount": 1999})
    assert response.status_code == 201, response.text
    return request_id


TREE = {
    "memory": [
        "POST /payments",
        "  process payments-create_payments",
    ],
    "real": [
        "POST /payments",
        "  send payments.create.batch.{batch}",
        "  process payments-create_payments",
        "    BEGIN payments_db",
        "    SELECT payments_db",
        "    INSERT payments_db",
        "    WITH payments_db",
        "    COMMIT payments_db",
        "    send payment.created",
        "      process payment.created",
        "        event stream payment.created",
    ],
}
"""The spans of a payment. In memory there is no server that could be called, and the fakes are not traced."""


async def test_trace_of_a_payment_reaches_the_event_stream(store: Store, gear: Gear, recorded: RecordedSpans) -> None:
    ada = await store.sign_up()
    async with store.events(ada) as events:
        request_id = await pay(ada)
        await eventually(lambda: "payment.created" in events.text)

        def whole() -> list[str]:
            root = recorded.of_request(request_id)
            tree = recorded.tree(root) if root else []
            return tree if len(tree) >= len(TREE[gear]) else []

        tree = await eventually(whole)
    assert [re.sub(r"payments_\w+$", "payments_db", line) for line in tree] == TREE[gear]


async def test_payments_of_one_batch_have_a_trace_each(store: Store, gear: Gear, recorded: RecordedSpans) -> None:
    ada = await store.sign_up()
    requests = await asyncio.gather(*(pay(ada) for _ in range(5)))
    roots = [root for each in requests if (root := recorded.of_request(each))]
    assert len({context(root).trace_id for root in roots}) == len(requests)
    for root in roots:
        handled = [line for line in recorded.tree(root) if line.startswith("  process")]
        assert len(handled) == 1, recorded.tree(root)
    if gear == "real":
        spans_of_requests = {context(root).span_id for root in roots}
        batches = [
            span
            for span in recorded.all()
            if span.kind is SpanKind.CONSUMER
            and "messaging.batch.message_count" in (span.attributes or {})
            and spans_of_requests & {link.context.span_id for link in span.links}  # not those of the store in memory
        ]
        assert batches
        for batch in batches:
            assert any(line.startswith("  COMMIT") for line in recorded.tree(batch)), recorded.tree(batch)


async def test_refusal_is_no_failure_of_the_server(store: Store, recorded: RecordedSpans) -> None:
    request_id = uuid4().hex
    response = await store.http.post("/auth/sessions", json=CREDENTIALS, headers={"X-Request-Id": request_id})
    assert response.status_code == 401
    root = recorded.of_request(request_id)
    assert root is not None
    assert recorded.tree(root)[0] == "POST /auth/sessions"
    assert root.status.status_code is StatusCode.UNSET


async def test_spans_hold_no_secret_and_no_address_of_a_person(store: Store, recorded: RecordedSpans) -> None:
    ada = await store.sign_up()
    taken = await store.http.post("/users", json={"email": ada.user["email"], "password": PASSWORD})
    assert taken.status_code == 409
    text = " ".join(span.to_json() for span in recorded.all())
    for secret in (ada.user["email"], PASSWORD, ada.token):
        assert secret not in text


async def test_trace_of_the_client_is_continued(store: Store, recorded: RecordedSpans) -> None:
    ada = await store.somebody()
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    request_id = uuid4().hex
    await ada.request("GET", "/users/me", {"traceparent": parent, "X-Request-Id": request_id})
    root = recorded.of_request(request_id)
    assert root is not None
    assert root.parent is not None
    assert f"{context(root).trace_id:032x}-{root.parent.span_id:016x}" == parent[3:52]


async def test_nothing_is_recorded_without_a_recorder(store: Store, recorded: RecordedSpans) -> None:
    ada = await store.somebody()
    before = len(recorded.all())
    recorder, spans._recorder = spans._recorder, None  # noqa: SLF001 - the fixture's, for this test
    try:
        assert (await ada.get("/users/me")).status_code == 200
    finally:
        spans.record_with(recorder)
    assert len(recorded.all()) == before
