"""Spans that this process has recorded, in memory."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext

from kit.ops.otlp import recorder
from kit.runtime import spans


@dataclass(frozen=True)
class RecordedSpans:
    """What was recorded so far."""

    exporter: InMemorySpanExporter

    def all(self) -> Sequence[ReadableSpan]:
        """Return the spans that have ended, in the order of their starts."""
        return sorted(self.exporter.get_finished_spans(), key=lambda span: span.start_time or 0)

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.all() if span.name == name]

    def of_request(self, request_id: str) -> ReadableSpan | None:
        """Return the span of the HTTP request with this id."""
        for span in self.all():
            if (span.attributes or {}).get("http.request.header.x-request-id") == (request_id,):
                return span
        return None

    def tree(self, root: ReadableSpan) -> list[str]:
        """Return the names of a span and its descendants, each below its parent, indented by two spaces per level."""
        children = [span for span in self.all() if span.parent and span.parent.span_id == context(root).span_id]
        below = [f"  {line}" for child in children for line in self.tree(child)]
        return [root.name, *below]


def context(span: ReadableSpan) -> SpanContext:
    found = span.get_span_context()
    assert found is not None
    return found


@contextmanager
def recorded_spans() -> Iterator[RecordedSpans]:
    """Record the spans of this process until the end of the block."""
    exporter = InMemorySpanExporter()
    spans.record_with(recorder("test", SimpleSpanProcessor(exporter)))
    try:
        yield RecordedSpans(exporter)
    finally:
        spans.record_with(None)
