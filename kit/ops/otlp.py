"""Exporting the spans of this process by OTLP over HTTP, with OpenTelemetry's SDK.

The SDK reads its other standard variables itself, such as `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_TRACES_SAMPLER` and
`OTEL_BSP_SCHEDULE_DELAY`.
"""

import asyncio
import os
import threading
from collections.abc import Sequence
from contextlib import suppress

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import Decision, ParentBased, Sampler, SamplingResult
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, Tracer, TraceState, get_current_span
from opentelemetry.trace import Span as OtelSpan
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import Attributes as AnyAttributes

from kit.asyncapi.specification import VERSION
from kit.messaging.batches import MAX_CALL
from kit.runtime import spans
from kit.runtime.spans import Attributes, Kind, NotRecorded, Started
from kit.runtime.tracing import TRACEPARENT, Trace

_FLUSH_TIMEOUT = 2.0
"""Seconds for which a stopping process waits until its last spans are sent; the SDK would wait for 30."""
_TRACEPARENT_LENGTH = 55
_W3C = TraceContextTextMapPropagator()


class TraceExport:
    """Records the spans of this process and sends them to `endpoint`, the base URL of an OTLP receiver."""

    def __init__(self, endpoint: str, service: str) -> None:
        self._processor = BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces"))
        spans.record_with(recorder(service, self._processor))

    async def stop(self) -> None:
        """Send what is left, for at most two seconds, and record nothing from now on."""
        spans.record_with(None)
        loop, sent = asyncio.get_running_loop(), asyncio.Event()

        def send() -> None:
            self._processor.shutdown()  # type: ignore[no-untyped-call]
            with suppress(RuntimeError):  # the loop is closed: it was too late
                loop.call_soon_threadsafe(sent.set)

        # Not a thread of the event loop's executor: the process would not end before that thread does.
        threading.Thread(target=send, name="last spans", daemon=True).start()
        with suppress(TimeoutError):
            await asyncio.wait_for(sent.wait(), _FLUSH_TIMEOUT)


def recorder(service: str, processor: SpanProcessor) -> "OpenTelemetryRecorder":
    """Return a recorder that passes what has ended to `processor`."""
    attributes = {
        "service.namespace": "mkstore",
        "service.name": service,
        "service.version": VERSION,
        "service.instance.id": str(os.getpid()),
    }
    # One link per message of a batch; the SDK keeps 128 by default.
    # Not at the exit of the interpreter: uvicorn ends the process by the signal that it got.
    limits = SpanLimits(max_links=MAX_CALL)
    provider = TracerProvider(resource=Resource.create(attributes), span_limits=limits, shutdown_on_exit=False)
    provider.add_span_processor(processor)
    if parent_decides := isinstance(provider.sampler, ParentBased):
        provider.sampler = _LinksOrParent(provider.sampler)
    return OpenTelemetryRecorder(provider.get_tracer("mkstore", VERSION), parent_decides=parent_decides)


class _LinksOrParent(Sampler):
    """Records a batch if one of its messages is recorded, and all else as the parent or `otherwise` decides."""

    def __init__(self, otherwise: Sampler) -> None:
        self._otherwise = otherwise

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: AnyAttributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """Return the decision about a span."""
        if links and any(link.context.trace_flags.sampled for link in links):
            return SamplingResult(Decision.RECORD_AND_SAMPLE, attributes)
        return self._otherwise.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)

    def get_description(self) -> str:
        """Return the name of the sampler."""
        return f"LinksOr({self._otherwise.get_description()})"


class OpenTelemetryRecorder:
    """Records spans with a tracer of OpenTelemetry."""

    def __init__(self, tracer: Tracer, *, parent_decides: bool) -> None:
        self._tracer = tracer
        self._parent_decides = parent_decides

    def start(self, name: str, kind: Kind, attributes: Attributes, parent: str, links: Sequence[str]) -> Started:
        """Start a span; an invalid `parent` begins a new trace."""
        if self._parent_decides and not links and _is_left_out(parent):
            return NotRecorded(parent)
        started = self._tracer.start_span(
            name,
            context=_W3C.extract({TRACEPARENT: parent}),
            kind=SpanKind[kind],
            attributes=attributes,
            links=[Link(context) for each in links if (context := _context_of(each)).is_valid],
        )
        return OpenTelemetrySpan(started)


class OpenTelemetrySpan:
    """A span of OpenTelemetry."""

    def __init__(self, started: OtelSpan) -> None:
        context = started.get_span_context()
        self._span = started
        self.is_recorded = started.is_recording()
        self.traceparent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"

    def rename(self, name: str) -> None:
        """Replace the name."""
        self._span.update_name(name)

    def add(self, attributes: Attributes) -> None:
        """Add attributes."""
        self._span.set_attributes(attributes)

    def fail(self, error: str) -> None:
        """Mark the span as failed. An error's message is left out: those of asyncpg quote values."""
        self._span.set_status(Status(StatusCode.ERROR))
        self._span.set_attribute("error.type", error)

    def end(self) -> None:
        """End the span now."""
        self._span.end()


def _is_left_out(parent: str) -> bool:
    trace = Trace(traceparent=parent)
    return len(parent) == _TRACEPARENT_LENGTH and not trace.is_sampled


def _context_of(traceparent: str) -> SpanContext:
    return get_current_span(_W3C.extract({TRACEPARENT: traceparent})).get_span_context()
