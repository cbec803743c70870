"""Spans of two payments that travel in one batch, made by OpenTelemetry's SDK as the services make them."""

from collections.abc import Mapping, Sequence

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context

from mkstore.traces import spans
from mkstore.traces.store import SpanStore

FIRST, SECOND = "first-request", "second-request"
INSERT = "INSERT INTO payments (id, user_id, amount) SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bigint[])"
STARTED = 1_800_000_000_000_000_000
"""Nanoseconds since 1970 at which the first request arrives."""
_MICROSECOND = 1_000
_KINDS = {
    "SERVER": SpanKind.SERVER,
    "CLIENT": SpanKind.CLIENT,
    "PRODUCER": SpanKind.PRODUCER,
    "CONSUMER": SpanKind.CONSUMER,
}


def tracer_of(service: str, exporter: SpanExporter) -> Tracer:
    """Return a tracer of a service that exports each span when it ends."""
    attributes = {"service.namespace": "mkstore", "service.name": service, "service.instance.id": f"{service}-1"}
    provider = TracerProvider(resource=Resource(attributes), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider.get_tracer("tests")


class Recording:
    """Records spans of several services with `exporter`; times are in microseconds since the first request."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._tracers: dict[str, Tracer] = {}

    def span(
        self,
        service: str,
        kind: str,
        name: str,
        times: tuple[int, int],
        *,
        parent: Span | None = None,
        links: Sequence[Span] = (),
        attributes: Mapping[str, str | int | Sequence[str]] | None = None,
    ) -> Span:
        """Record a span from the first to the second of `times`; return it, ended, as the parent of others."""
        tracer = self._tracers.setdefault(service, tracer_of(service, self._exporter))
        start, end = (STARTED + time * _MICROSECOND for time in times)
        span = tracer.start_span(
            name,
            context=set_span_in_context(parent) if parent else Context(),
            kind=_KINDS[kind],
            links=[Link(each.get_span_context()) for each in links],
            attributes=attributes or {},
            start_time=start,
        )
        span.end(end)
        return span

    def http(
        self, request_id: str, route: str, times: tuple[int, int], status: int = 202, parent: Span | None = None
    ) -> Span:
        """Record the span of an HTTP request of the gateway."""
        method, _, path = route.partition(" ")
        attributes: dict[str, str | int | Sequence[str]] = {
            "http.request.method": method,
            "http.route": path,
            "http.response.status_code": status,
            "http.request.header.x-request-id": [request_id],
            "http.request.header.authorization": ["Bearer secret"],
            "url.query": "email=ada@example.com",
        }
        return self.span("gateway", "SERVER", route, times, parent=parent, attributes=attributes)

    def nats(
        self,
        service: str,
        kind: str,
        operation: str,
        subject: str,
        times: tuple[int, int],
        *,
        parent: Span | None = None,
        links: Sequence[Span] = (),
        count: int = 1,
    ) -> Span:
        """Record an operation on a subject of NATS, of `count` messages."""
        attributes: dict[str, str | int] = {"messaging.system": "nats", "messaging.destination.name": subject}
        if count > 1:
            attributes["messaging.batch.message_count"] = count
        name = f"{operation} {subject}"
        return self.span(service, kind, name, times, parent=parent, links=links, attributes=attributes)

    def sql(self, service: str, statement: str, times: tuple[int, int], parent: Span, rows: int | None = None) -> Span:
        """Record an SQL statement."""
        attributes: dict[str, str | int] = {
            "db.system.name": "postgresql",
            "db.query.text": statement,
            "db.query.parameter.1": "4e9c7a10",
        }
        if rows is not None:
            attributes["db.response.returned_rows"] = rows
        return self.span(service, "CLIENT", statement.partition(" ")[0], times, parent=parent, attributes=attributes)


def record_payments(exporter: SpanExporter) -> None:
    """Record two payments that arrive together, from HTTP to the event streams of their users."""
    record = Recording(exporter)
    # The SDK takes the ids of parents from spans that have ended too.
    requests = [record.http(FIRST, "POST /payments", (0, 9000)), record.http(SECOND, "POST /payments", (300, 9100))]
    asked = record.nats(
        "gateway", "CLIENT", "send", "users.get_many", (400, 2600), parent=requests[0], links=requests[1:]
    )
    replied = record.nats("users", "SERVER", "process", "users.get_many", (900, 2300), parent=asked)
    record.sql("users", "SELECT id, email FROM users WHERE id = ANY($1)", (1100, 2000), replied, rows=2)
    record.nats(
        "gateway",
        "PRODUCER",
        "send",
        "payments.create.batch.{batch}",
        (3000, 8600),
        parent=requests[0],
        links=requests[1:],
    )
    consumed = record.nats(
        "payments", "CONSUMER", "process", "payments-create_payments", (9500, 16000), links=requests, count=2
    )
    record.sql("payments", INSERT, (10200, 12900), consumed, rows=2)
    record.sql("payments", "COMMIT", (13000, 15700), consumed)
    items = [
        record.nats("payments", "CONSUMER", "process", "payments-create_payments", (9600, 15900), parent=origin)
        for origin in requests  # a batch on the wire has the trace context of each payment
    ]
    published = record.nats("payments", "PRODUCER", "send", "payment.created", (17000, 20500), links=items, count=2)
    record.sql("payments", "DELETE FROM outbox WHERE seq = ANY($1)", (20600, 21900), published, rows=2)
    for item in items:
        event = record.nats("payments", "PRODUCER", "send", "payment.created", (17100, 20400), parent=item)
        arrived = record.nats("gateway", "CONSUMER", "process", "payment.created", (20900, 21500), parent=event)
        record.span("gateway", "PRODUCER", "event stream payment.created", (21000, 21400), parent=arrived)


def record_failure(exporter: SpanExporter, request_id: str) -> None:
    """Record a request that fails with an error whose message quotes a value."""
    record = Recording(exporter)
    request = record.http(request_id, "POST /users", (0, 2000), status=500)
    tracer = tracer_of("users", exporter)
    with tracer.start_as_current_span("process users.create", context=set_span_in_context(request)) as span:
        error = ValueError("Key (email)=(ada@example.com) already exists")
        span.record_exception(error)
        span.set_status(Status(StatusCode.ERROR, f"ValueError: {error}"))


def exported(exporter: InMemorySpanExporter) -> ExportTraceServiceRequest:
    """Return the recorded spans as a request of OTLP."""
    return encode_spans(exporter.get_finished_spans())


def stored_payments() -> SpanStore:
    """Return a store with the spans of the two payments."""
    exporter = InMemorySpanExporter()
    record_payments(exporter)
    store = SpanStore()
    store.add(span for span in spans.received(exported(exporter)) if span is not None)
    return store
