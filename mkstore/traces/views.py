"""What the portal shows of the stored spans: the last requests, and one request as a tree in the order of time."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from itertools import islice

from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from mkstore.traces.spans import SpanKey, StoredSpan, value_of
from mkstore.traces.store import SpanStore
from portal.traces import RequestList, RequestSummary, RequestView, SpanView

MAX_REQUESTS = 100
"""Requests in the list."""
MAX_SPANS = 2_000
"""Spans shown of one request."""
_MAX_TEXT = 4_000
"""Characters of an attribute that are shown: the SQL of a batch can be long."""
_MICROSECOND, _SECOND = 1_000, 1_000_000_000


def newest(store: SpanStore) -> RequestList:
    """Return the last requests, newest first."""
    requests = [_summary(store, request_id) for request_id in islice(store.requests(), MAX_REQUESTS)]
    return RequestList(requests=requests, kept=store.max_spans)


def request(store: SpanStore, request_id: str) -> RequestView | None:
    """Return a request with its spans; None if there are none."""
    found = store.spans_of(request_id)
    if not found:
        return None
    decoded = {key: span.decoded() for key, span in found.items()}
    above = {key: _above(span, found, decoded) for key, span in found.items()}
    start = min(span.start_time_unix_nano for span in decoded.values())
    order = list(_order(above, decoded))
    shown = order[:MAX_SPANS]
    return RequestView(
        **_summary(store, request_id).model_dump(),
        services=list(dict.fromkeys(found[key].service.name for key, _ in order)),
        tree=[_view(found[key], decoded[key], above[key], depth, start, found) for key, depth in shown],
        left_out=len(order) - len(shown),
    )


def _summary(store: SpanStore, request_id: str) -> RequestSummary:
    span = max((server.decoded() for server in store.servers(request_id)), key=lambda one: one.start_time_unix_nano)
    status = next((value_of(one.value) for one in span.attributes if one.key == "http.response.status_code"), None)
    return RequestSummary(
        id=request_id,
        name=span.name,
        status=status if isinstance(status, int) else None,
        started_at=datetime.fromtimestamp(span.start_time_unix_nano / _SECOND, UTC),
        duration=_microseconds(span),
        spans=len(store.spans_of(request_id)),
    )


def _above(span: StoredSpan, found: Mapping[SpanKey, StoredSpan], decoded: Mapping[SpanKey, Span]) -> SpanKey | None:
    """Return the span above: the parent or, if that is not shown, the earliest one that the span is linked to."""
    parent = (span.key[0], span.parent)
    if parent in found:
        return parent
    linked = [key for key in span.links if key in found and key != span.key]
    return min(linked, key=lambda key: decoded[key].start_time_unix_nano, default=None)


def _order(above: Mapping[SpanKey, SpanKey | None], decoded: Mapping[SpanKey, Span]) -> Iterable[tuple[SpanKey, int]]:
    """Yield each span once with its depth: below the span above it, and among those in the order of time."""
    by_time = sorted(above, key=lambda key: (decoded[key].start_time_unix_nano, -decoded[key].end_time_unix_nano, key))
    below: defaultdict[SpanKey | None, list[SpanKey]] = defaultdict(list)
    for key in by_time:
        below[above[key]].append(key)
    seen: set[SpanKey] = set()
    # Spans that are above each other in a circle are below none: the first of them begins a tree.
    for root in (*below[None], *by_time):
        pending = [(root, 0)]
        while pending:
            key, depth = pending.pop()
            if key not in seen:
                seen.add(key)
                yield key, depth
                pending += [(each, depth + 1) for each in reversed(below[key])]


def _view(
    span: StoredSpan,
    decoded: Span,
    above: SpanKey | None,
    depth: int,
    start: int,
    found: Mapping[SpanKey, StoredSpan],
) -> SpanView:
    return SpanView(
        id=span.key[1].hex(),
        parent=above[1].hex() if above else "",
        trace=span.key[0].hex(),
        service=span.service.name,
        instance=span.service.instance,
        name=decoded.name[:_MAX_TEXT],
        kind=Span.SpanKind.Name(decoded.kind).removeprefix("SPAN_KIND_").lower(),
        offset=(decoded.start_time_unix_nano - start) // _MICROSECOND,
        duration=_microseconds(decoded),
        depth=depth,
        failed=decoded.status.code == Status.STATUS_CODE_ERROR,
        links=[key[1].hex() for key in span.links if key in found],
        attributes={each.key: _short(value_of(each.value)) for each in decoded.attributes},
        events=[event.name[:_MAX_TEXT] for event in decoded.events],
    )


def _short(value: str | bool | float | list[str]) -> str | bool | int | float | list[str]:
    return f"{value[:_MAX_TEXT]}…" if isinstance(value, str) and len(value) > _MAX_TEXT else value


def _microseconds(span: Span) -> int:
    return max(0, span.end_time_unix_nano - span.start_time_unix_nano) // _MICROSECOND
