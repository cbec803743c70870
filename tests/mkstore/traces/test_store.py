"""The spans of a request among the stored ones, and the bounds of the store."""

from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from mkstore.traces import views
from mkstore.traces.spans import StoredSpan, received
from mkstore.traces.store import SpanStore
from tests.support.payment_spans import (
    FIRST,
    INSERT,
    SECOND,
    Recording,
    exported,
    record_failure,
    record_payments,
    stored_payments,
)

NAMES = {
    "POST /payments",
    "send users.get_many",
    "process users.get_many",
    "SELECT",
    "send payments.create.batch.{batch}",
    "process payments-create_payments",
    "INSERT",
    "COMMIT",
    "send payment.created",
    "DELETE",
    "process payment.created",
    "event stream payment.created",
}


def spans_of(exporter: InMemorySpanExporter) -> list[StoredSpan]:
    return [span for span in received(exported(exporter)) if span is not None]


def recorded(*request_ids: str) -> list[list[StoredSpan]]:
    """Return, for each id, the two spans of a request."""
    result = []
    for request_id in request_ids:
        exporter = InMemorySpanExporter()
        record = Recording(exporter)
        request = record.http(request_id, "GET /users/{user_id}", (0, 100))
        record.nats("gateway", "CLIENT", "send", "users.get_many", (10, 90), parent=request)
        result.append(spans_of(exporter))
    return result


def test_each_request_of_a_batch_has_the_spans_that_worked_for_it() -> None:
    """The second request has no span below its own in the first one's trace; links lead there."""
    store = stored_payments()
    for request_id in (FIRST, SECOND):
        view = views.request(store, request_id)
        assert view is not None
        assert {span.name for span in view.tree} == NAMES
        assert view.services == ["gateway", "users", "payments"]
        assert view.tree[0].attributes["http.request.header.x-request-id"] == [request_id]
        assert view.spans == len(view.tree) == len({(span.trace, span.id) for span in view.tree})
        assert sum(span.name == "POST /payments" for span in view.tree) == 1
        assert sum(span.name == "event stream payment.created" for span in view.tree) == 1


def test_spans_are_in_the_order_of_the_tree_and_of_time() -> None:
    view = views.request(stored_payments(), FIRST)
    assert view is not None
    assert [(span.depth, span.name, span.offset, span.duration) for span in view.tree][:9] == [
        (0, "POST /payments", 0, 9000),
        (1, "send users.get_many", 400, 2200),
        (2, "process users.get_many", 900, 1400),
        (3, "SELECT", 1100, 900),
        (1, "send payments.create.batch.{batch}", 3000, 5600),
        (1, "process payments-create_payments", 9500, 6500),
        (2, "INSERT", 10200, 2700),
        (2, "COMMIT", 13000, 2700),
        (1, "process payments-create_payments", 9600, 6300),
    ]
    by_id = {span.id: span for span in view.tree}
    batch = view.tree[5]
    assert [by_id[link].name for link in batch.links] == ["POST /payments"]
    assert (batch.parent, batch.attributes["messaging.batch.message_count"]) == (batch.links[0], 2)
    assert view.tree[6].attributes["db.query.text"] == INSERT


def test_newest_requests_come_first() -> None:
    store = stored_payments()
    for spans in recorded("third"):
        store.add(spans)
    newest = views.newest(store)
    assert [(one.id, one.name, one.status, one.spans) for one in newest.requests] == [
        ("third", "GET /users/{user_id}", 202, 2),
        (SECOND, "POST /payments", 202, 14),
        (FIRST, "POST /payments", 202, 14),
    ]
    assert [one.duration for one in newest.requests] == [100, 8800, 9000]


def test_values_of_parameters_and_messages_of_errors_are_not_kept() -> None:
    exporter = InMemorySpanExporter()
    record_failure(exporter, "failed")
    record_payments(exporter)
    spans = spans_of(exporter)
    content = b"".join(span.content for span in spans)
    for value in (b"ada@example.com", b"Bearer", b"4e9c7a10", b"Traceback", b"already exists"):
        assert value not in content
    store = SpanStore()
    store.add(spans)
    view = views.request(store, "failed")
    assert view is not None
    assert [(span.failed, list(span.events)) for span in view.tree] == [(False, []), (True, ["exception"])]


def test_oldest_traces_are_dropped_first() -> None:
    store = SpanStore(max_spans=4)
    for spans in recorded("one", "two", "three"):
        store.add(spans)
    assert (len(store), list(store.requests())) == (4, ["three", "two"])
    assert views.request(store, "one") is None


def test_bytes_are_bounded_too() -> None:
    one, two = recorded("one", "two")
    store = SpanStore(max_bytes=sum(len(span.content) for span in one))
    store.add(one)
    store.add(two)
    assert list(store.requests()) == ["two"]
    assert store.size <= sum(len(span.content) for span in one)


def test_nothing_is_left_of_what_was_dropped() -> None:
    """Also not in the indexes, which would grow for as long as the store runs."""
    exporter = InMemorySpanExporter()
    record_payments(exporter)
    store = SpanStore(max_spans=0)
    store.add(spans_of(exporter))
    assert (len(store), store.size, list(store.requests()), store.links) == (0, 0, [], 0)


def test_repeated_export_does_not_double_a_span() -> None:
    (spans,) = recorded("one")
    store = SpanStore()
    store.add(spans)
    store.add(spans)
    assert len(store) == 2
    view = views.request(store, "one")
    assert view is not None
    assert view.spans == 2


def test_repeated_request_id_shows_both_requests() -> None:
    first, second = recorded("same", "same")
    store = SpanStore()
    store.add([*first, *second])
    view = views.request(store, "same")
    assert view is not None
    assert [span.depth for span in view.tree] == [0, 1, 0, 1]


def test_parents_in_a_circle_are_shown_once() -> None:
    (spans,) = recorded("circle")
    request, sent = sorted(spans, key=lambda span: span.request_id, reverse=True)
    store = SpanStore()
    store.add([request._replace(parent=sent.key[1]), sent])
    view = views.request(store, "circle")
    assert view is not None
    assert [(span.depth, span.name) for span in view.tree] == [
        (0, "GET /users/{user_id}"),
        (1, "send users.get_many"),
    ]
