"""Spans as they arrive by OTLP, without what could be secret or personal."""

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

REQUEST_ID = "http.request.header.x-request-id"
"""The attribute with the id of a request, a list of one text."""

_TRACE_ID_BYTES, _SPAN_ID_BYTES = 16, 8
_DROPPED = (
    *("db.query.parameter", "db.statement.parameters", "db.operation.parameter"),
    *("url.full", "url.query", "http.url", "http.target", "http.request.body", "http.response.body"),
    *("exception.message", "exception.stacktrace"),
)
"""Beginnings of the names of attributes with values of parameters, or with texts that quote such values."""
_HEADERS = ("http.request.header.", "http.response.header.")

SpanKey = tuple[bytes, bytes]
"""The id of a trace and the id of a span in it."""


class Service(NamedTuple):
    """The process that a span is from."""

    name: str
    instance: str


class StoredSpan(NamedTuple):
    """A span: what the store's indexes need, and the span itself as `content`, in the encoding of OTLP.

    A span as a Python object would take ten times the memory.
    """

    key: SpanKey
    parent: bytes
    links: tuple[SpanKey, ...]
    request_id: str
    service: Service
    content: bytes

    def decoded(self) -> Span:
        """Return the span with all its fields."""
        span = Span()
        span.ParseFromString(self.content)
        return span


def received(request: ExportTraceServiceRequest) -> Iterator[StoredSpan | None]:
    """Yield each span of an export, and None for one that is invalid."""
    for resource_spans in request.resource_spans:
        service = _service(resource_spans.resource)
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                yield _stored(span, service)


def value_of(value: AnyValue) -> str | bool | int | float | list[str]:
    """Return the value of an attribute; of a map or of bytes, only what kind of value it is."""
    match value.WhichOneof("value"):
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
        case "int_value":
            return value.int_value
        case "double_value":
            return value.double_value
        case "array_value":
            return [str(value_of(each)) for each in value.array_value.values]
        case other:
            return (other or "none").removesuffix("_value")


def _stored(span: Span, service: Service) -> StoredSpan | None:
    if not (_is_id(span.trace_id, _TRACE_ID_BYTES) and _is_id(span.span_id, _SPAN_ID_BYTES)):
        return None
    request_id = ""
    for attribute in span.attributes:
        if attribute.key == REQUEST_ID and span.kind == Span.SPAN_KIND_SERVER:
            value = value_of(attribute.value)
            request_id = value[0] if isinstance(value, list) and value else value if isinstance(value, str) else ""
    _redact(span)
    return StoredSpan(
        (span.trace_id, span.span_id),
        span.parent_span_id,
        tuple((link.trace_id, link.span_id) for link in span.links),
        request_id,
        service,
        span.SerializeToString(),
    )


def _redact(span: Span) -> None:
    for attributed in (span, *span.events, *span.links):
        for index in reversed(range(len(attributed.attributes))):
            if _is_dropped(attributed.attributes[index].key):
                del attributed.attributes[index]
    # Before the first colon is the class of an error, after it its message.
    span.status.message = span.status.message.partition(":")[0]


@lru_cache(maxsize=1024)
def _is_dropped(name: str) -> bool:
    return name.startswith(_DROPPED) or (name.startswith(_HEADERS) and name != REQUEST_ID)


def _is_id(value: bytes, length: int) -> bool:
    return len(value) == length and any(value)


def _service(resource: Resource) -> Service:
    attributes = {each.key: str(value_of(each.value)) for each in resource.attributes}
    return Service(attributes.get("service.name", "unknown"), attributes.get("service.instance.id", ""))
