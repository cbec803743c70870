"""The last spans in memory, found by the id of the request that caused them."""

from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Iterator

from mkstore.traces.spans import SpanKey, StoredSpan

MAX_SPANS = 20_000
"""Spans that are kept; a payment causes about 15."""
MAX_BYTES = 32 << 20
"""Bytes of all spans that are kept."""


class SpanStore:
    """Keeps at most `max_spans` spans with `max_bytes` bytes: the oldest traces are dropped first."""

    def __init__(self, max_spans: int = MAX_SPANS, max_bytes: int = MAX_BYTES) -> None:
        self.max_spans = max_spans
        self._max_bytes = max_bytes
        self._count = self._size = 0
        self._traces: OrderedDict[bytes, dict[bytes, StoredSpan]] = OrderedDict()
        self._requests: OrderedDict[str, set[SpanKey]] = OrderedDict()
        self._linked_from: defaultdict[SpanKey, set[SpanKey]] = defaultdict(set)

    def __len__(self) -> int:
        """Return the number of spans."""
        return self._count

    @property
    def size(self) -> int:
        """Bytes of all spans."""
        return self._size

    @property
    def links(self) -> int:
        """Number of spans that another one is linked to."""
        return len(self._linked_from)

    def add(self, spans: Iterable[StoredSpan]) -> None:
        """Add spans; one that is here already, because an exporter repeated it, takes the place of the earlier one."""
        for span in spans:
            self._add(span)
        while self._traces and (self._count > self.max_spans or self._size > self._max_bytes):
            _, oldest = self._traces.popitem(last=False)
            for span in oldest.values():
                self._forget(span)

    def requests(self) -> Iterator[str]:
        """Yield the ids of the requests, newest first."""
        yield from reversed(self._requests)

    def servers(self, request_id: str) -> list[StoredSpan]:
        """Return the spans of HTTP servers that have this request id; there are several if a client repeats it."""
        return [self._traces[trace][span] for trace, span in self._requests.get(request_id, ())]

    def spans_of(self, request_id: str) -> dict[SpanKey, StoredSpan]:
        """Return what a request caused: the spans of its traces, all that are linked to one, and what those caused.

        A span that works for many requests, such as a batch, is linked to spans of each of them.
        """
        found: dict[SpanKey, StoredSpan] = {}
        pending = [
            span
            for trace in {key[0] for key in self._requests.get(request_id, ())}
            for span in self._traces[trace].values()
        ]
        children: dict[bytes, dict[bytes, list[StoredSpan]]] = {}
        followed: set[bytes] = {span.key[0] for span in pending}
        while pending:
            span = pending.pop()
            if span.key in found:
                continue
            found[span.key] = span
            trace, span_id = span.key
            pending += [self._traces[linked][one] for linked, one in self._linked_from.get(span.key, ())]
            if trace not in followed:  # of the request's own traces every span is pending already
                if trace not in children:
                    children[trace] = self._children(trace)
                pending += children[trace].get(span_id, [])
        return found

    def _children(self, trace: bytes) -> dict[bytes, list[StoredSpan]]:
        children: defaultdict[bytes, list[StoredSpan]] = defaultdict(list)
        for span in self._traces[trace].values():
            children[span.parent].append(span)
        return children

    def _add(self, span: StoredSpan) -> None:
        trace = self._traces.setdefault(span.key[0], {})
        if (earlier := trace.get(span.key[1])) is not None:
            self._forget(earlier)
        trace[span.key[1]] = span
        self._count += 1
        self._size += len(span.content)
        for target in span.links:
            self._linked_from[target].add(span.key)
        if span.request_id:
            self._requests.setdefault(span.request_id, set()).add(span.key)
            self._requests.move_to_end(span.request_id)

    def _forget(self, span: StoredSpan) -> None:
        """Remove a span from the indexes."""
        self._count -= 1
        self._size -= len(span.content)
        for target in span.links:
            self._linked_from[target].discard(span.key)
            if not self._linked_from[target]:
                del self._linked_from[target]
        if span.request_id:
            servers = self._requests[span.request_id]
            servers.discard(span.key)
            if not servers:
                del self._requests[span.request_id]
