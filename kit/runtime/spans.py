"""Spans: what a request causes in each process, and how long it takes. They are off unless `record_with` is called.

A span becomes the parent of what its task does next: it takes the place of the current trace, which goes into message
headers and outbox rows. Without a recorder a span costs a comparison, and traces pass through unchanged. Attributes
follow the semantic conventions of OpenTelemetry 1.40.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Literal, Protocol

from kit.runtime.tracing import Trace, trace

Kind = Literal["SERVER", "CLIENT", "PRODUCER", "CONSUMER", "INTERNAL"]
"""The kinds of spans in OpenTelemetry."""
Attributes = Mapping[str, str | int | float | bool | Sequence[str]]


class Span(Protocol):
    """A span that has started."""

    @property
    def is_recorded(self) -> bool:
        """Whether it is recorded; otherwise nobody reads its attributes."""

    def rename(self, name: str) -> None:
        """Replace the name, such as when the route is known."""

    def add(self, attributes: Attributes) -> None:
        """Add attributes."""

    def fail(self, error: str) -> None:
        """Mark the span as failed; `error` is a class of errors, without values that could be secret or personal."""

    def end(self) -> None:
        """End the span now."""


class Started(Span, Protocol):
    """A span that a recorder has started, or left out."""

    traceparent: str
    """The W3C Trace Context of its children."""


class Recorder(Protocol):
    """Makes spans and passes them on when they end."""

    def start(self, name: str, kind: Kind, attributes: Attributes, parent: str, links: Sequence[str]) -> Started:
        """Start a span; `parent` and `links` are `traceparent` values, an empty `parent` begins a new trace."""


class NotRecorded:
    """A span of which nothing is recorded; its children belong to `traceparent`."""

    is_recorded = False

    def __init__(self, traceparent: str = "") -> None:
        self.traceparent = traceparent

    def rename(self, name: str) -> None:
        """Do nothing."""

    def add(self, attributes: Attributes) -> None:
        """Do nothing."""

    def fail(self, error: str) -> None:
        """Do nothing."""

    def end(self) -> None:
        """Do nothing."""

    def __enter__(self) -> Span:
        return self

    def __exit__(self, *_: object) -> None:
        pass


NOT_RECORDED = NotRecorded()
_recorder: Recorder | None = None
_others: ContextVar[tuple[Trace, ...]] = ContextVar("others", default=())
"""Traces of other requests that the current task works for; the next span gets links to them."""


def record_with(recorder: Recorder | None) -> None:
    """Record the spans of this process from now on; None ends that."""
    global _recorder  # noqa: PLW0603 - as the root logger: one per process
    _recorder = recorder


def are_recorded() -> bool:
    """Return whether spans are recorded."""
    return _recorder is not None


def begin(name: str, kind: Kind, parent: Trace) -> Span:
    """Start a span with the trace `parent` as its parent; it is the parent of all that the task does from now on.

    The caller ends it.
    """
    if _recorder is None:
        trace.set(parent)
        return NOT_RECORDED
    started = _recorder.start(name, kind, {}, parent.traceparent, ())
    trace.set(parent._replace(traceparent=started.traceparent))
    return started


def span(
    name: str,
    kind: Kind,
    attributes: Attributes | None = None,
    *,
    parent: Trace | None = None,
    links: Sequence[Trace] = (),
) -> AbstractContextManager[Span]:
    """Record the block as a span: a child of `parent`, by default of the current trace, with links to other traces.

    An error that leaves the block marks the span as failed.
    """
    if _recorder is None:
        return NOT_RECORDED
    return _Current(_recorder, name, kind, attributes or {}, parent, links)


def nats_span(
    operation: str,
    kind: Kind,
    destination: str,
    attributes: Attributes | None = None,
    *,
    parent: Trace | None = None,
    links: Sequence[Trace] = (),
) -> AbstractContextManager[Span]:
    """Record an operation on NATS, such as "send"; `destination` is a consumer, or a subject without ids."""
    if _recorder is None:
        return NOT_RECORDED
    described = {**on_nats(operation, destination), **(attributes or {})}
    return span(f"{operation} {destination}", kind, described, parent=parent, links=links)


def on_nats(operation: str, destination: str) -> dict[str, str | int | float | bool | Sequence[str]]:
    """Return the attributes of an operation on NATS."""
    return {
        "messaging.system": "nats",
        "messaging.operation.name": operation,
        "messaging.destination.name": destination,
    }


class _Current:
    def __init__(
        self,
        recorder: Recorder,
        name: str,
        kind: Kind,
        attributes: Attributes,
        parent: Trace | None,
        links: Sequence[Trace],
    ) -> None:
        self._recorder = recorder
        self._name = name
        self._kind = kind
        self._attributes = attributes
        self._parent = parent
        self._links = links
        self._tokens: tuple[Token[Trace], Token[tuple[Trace, ...]]]
        self._span: Started

    def __enter__(self) -> Span:
        parent = trace.get() if self._parent is None else self._parent
        links = [each.traceparent for each in (*self._links, *_others.get()) if each.is_sampled]
        self._span = self._recorder.start(self._name, self._kind, self._attributes, parent.traceparent, links)
        self._tokens = trace.set(parent._replace(traceparent=self._span.traceparent)), _others.set(())
        return self._span

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is not None:
            self._span.fail(kind.__qualname__)
        self._span.end()
        current, others = self._tokens
        trace.reset(current)
        _others.reset(others)


@contextmanager
def on_behalf_of(traces: Sequence[Trace]) -> Iterator[None]:
    """Work for several requests at once: the first sampled one is the parent of the next span, others get links."""
    if _recorder is None:
        yield
        return
    sampled = [each for each in traces if each.is_sampled] or traces
    first, others = trace.set(sampled[0]), _others.set(tuple(sampled[1:]))
    try:
        yield
    finally:
        trace.reset(first)
        _others.reset(others)


@contextmanager
def batch_span(
    operation: str, kind: Kind, names: Sequence[str], traces: Sequence[Trace], attributes: Attributes | None = None
) -> Iterator[Sequence[Trace]]:
    """Record the block as an operation on a batch of messages; yield for each the trace that its effects belong to.

    `names`, of subjects or consumers, and `traces` have one element per message. A batch of one message is a span in
    the trace of that message. A larger one is a trace with links to its messages, each of which has a span in its own
    trace. It is recorded if one of its messages is.
    """
    if _recorder is None or not any(each.is_sampled or not each.traceparent for each in traces):
        yield traces
    elif len(traces) == 1:
        with nats_span(operation, kind, names[0], attributes, parent=traces[0]):
            yield [trace.get()]
    else:
        every = dict.fromkeys(names)
        counted = {**(attributes or {}), "messaging.batch.message_count": len(traces)}
        with nats_span(operation, kind, ", ".join(every), counted, parent=Trace(), links=traces):
            recorder, given = _recorder, attributes or {}
            items = [
                recorder.start(
                    f"{operation} {each_name}", kind, {**on_nats(operation, each_name), **given}, each.traceparent, ()
                )
                for each_name, each in zip(names, traces, strict=True)
            ]
            try:
                yield [each._replace(traceparent=item.traceparent) for each, item in zip(traces, items, strict=True)]
            except BaseException as error:
                for item in items:
                    item.fail(type(error).__qualname__)
                raise
            finally:
                for item in items:
                    item.end()
