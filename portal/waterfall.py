"""A request as a waterfall: a bar per span, the sums per service and operation, and what it used of the map."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from kit.asyncapi.reader import CONSUMER_ROLES, DocumentReader
from portal.traces import RequestView, SpanView, Value

WIDTH = 1000
"""Units of the whole request on the axis of time."""
_MIN_WIDTH = 3.0
_TICKS = 4
_COLORS = 6
_MAX_DEPTH = 12
"""Deeper spans are not indented further."""
_SQL = ("db.query.text", "db.statement")
_SUBJECT = "messaging.destination.name"
_ROWS = ("db.response.returned_rows", "db.rows_affected")
_MESSAGES = "messaging.batch.message_count"
_TABLE = re.compile(r"\b(INSERT\s+INTO|DELETE\s+FROM|UPDATE|FROM)\s+\"?([A-Za-z_][\w.]*)", re.IGNORECASE)
_REPUBLISHED = "stored."
_MILLISECOND, _SECOND = 1_000, 1_000_000


class Bar(NamedTuple):
    """A span on the page: `x` and `width` are its place on the axis of time, `color` the number of its service."""

    span: SpanView
    x: float
    width: float
    color: int
    indent: int
    starts: str
    lasts: str
    sql: str
    amount: str
    links: Sequence[SpanView]
    attributes: Sequence[tuple[str, str]]


class Sum(NamedTuple):
    """Spans of one service with the same operation; `amount` is the number of messages or rows, `share` of the time."""

    service: str
    color: int
    operation: str
    subject: str
    spans: int
    amount: str
    lasts: str


class Used(NamedTuple):
    """What a request used of the map: operations as service, message and whether it published; messages; services."""

    operations: frozenset[tuple[str, str, bool]]
    messages: frozenset[str]
    services: frozenset[tuple[str, bool]]

    def has(self, service: str, message: str, role: str) -> bool:
        """Return whether the request used an operation of the map."""
        return (service, message, role not in CONSUMER_ROLES) in self.operations


class Waterfall(NamedTuple):
    """All parts of the page of a request."""

    bars: Sequence[Bar]
    ticks: Sequence[str]
    sums: Sequence[Sum]
    colors: Sequence[tuple[str, int]]
    lasts: str
    answered: str


def lay_out(view: RequestView) -> Waterfall:
    """Return the waterfall of a request."""
    total = max((span.offset + span.duration for span in view.tree), default=0) or 1
    colors = {service: place % _COLORS for place, service in enumerate(view.services)}
    by_id = {span.id: span for span in view.tree}
    return Waterfall(
        bars=[_bar(span, total, colors.get(span.service, 0), [*_existing(span.links, by_id)]) for span in view.tree],
        ticks=[duration(total * place // _TICKS) for place in range(_TICKS)],
        sums=[*_sums(view.tree, colors)],
        colors=list(colors.items()),
        lasts=duration(total),
        answered=duration(view.duration),
    )


def used(view: RequestView, system: DocumentReader) -> Used:
    """Return which messages of the documents a request published and consumed, and which services did that.

    A span names a subject or, as a consumer of a stream, its durable.
    """
    operations: set[tuple[str, str, bool]] = set()
    durables = {each.x_nats.get("consumer", {}).get("durable"): each for each in system.operations}
    patterns = [
        (_pattern(channel.address), channel.messages) for channel in system.channels.values() if channel.address
    ]
    for span in view.tree:
        publishes = span.kind in {"producer", "client"}
        for subject in str(span.attributes.get(_SUBJECT, "")).split(", "):
            if consumer := durables.get(subject):
                operations.add((span.service, consumer.message, False))
            for pattern, messages in patterns:
                if pattern.fullmatch(subject.removeprefix(_REPUBLISHED)):
                    operations |= {(span.service, message, publishes) for message in messages}
    return Used(
        frozenset(operations),
        frozenset(message for _, message, _ in operations),
        frozenset((service, publishes) for service, _, publishes in operations),
    )


def duration(microseconds: int) -> str:
    """Return a time with its unit, and three significant digits."""
    if microseconds < _MILLISECOND:
        return f"{microseconds} µs"
    if microseconds < _SECOND:
        return f"{_three(microseconds / _MILLISECOND)} ms"
    return f"{_three(microseconds / _SECOND)} s"


def _three(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"  # noqa: PLR2004


def _bar(span: SpanView, total: int, color: int, links: Sequence[SpanView]) -> Bar:
    width = min(max(span.duration / total * WIDTH, _MIN_WIDTH), WIDTH)
    hidden = {*_SQL, _SUBJECT}
    return Bar(
        span,
        x=round(min(span.offset / total * WIDTH, WIDTH - width), 1),
        width=round(width, 1),
        color=color,
        indent=min(span.depth, _MAX_DEPTH),
        starts=duration(span.offset),
        lasts=duration(span.duration),
        sql=_sql(span),
        amount=_amount([span]),
        links=links,
        attributes=[(name, _text(value)) for name, value in sorted(span.attributes.items()) if name not in hidden],
    )


def _sums(tree: Sequence[SpanView], colors: dict[str, int]) -> Iterator[Sum]:
    groups: dict[tuple[str, str], list[SpanView]] = {}
    for span in tree:
        groups.setdefault((span.service, _operation(span)), []).append(span)
    for (service, operation), spans in groups.items():
        yield Sum(
            service,
            colors.get(service, 0),
            operation,
            subject=str(spans[0].attributes.get(_SUBJECT, "")),
            spans=len(spans),
            amount=_amount(spans),
            lasts=duration(sum(span.duration for span in spans)),
        )


def _operation(span: SpanView) -> str:
    """Return the name of a span; of SQL, the verb and the table."""
    sql = _sql(span)
    if not sql:
        return span.name
    found = _TABLE.search(sql)
    verb = sql.split(maxsplit=1)[0].upper()
    if found is None:
        return verb
    changes = found[1].split()[0].upper()
    return f"{verb if changes == 'FROM' else changes} {found[2]}"


def _amount(spans: Sequence[SpanView]) -> str:
    """Return how many messages or rows the spans worked for, or an empty text if they do not say."""
    for names, unit in (((_MESSAGES,), "message"), (_ROWS, "row")):
        counts = [value for span in spans for name in names if isinstance(value := span.attributes.get(name), int)]
        if counts:
            return f"{sum(counts)} {unit}{'' if sum(counts) == 1 else 's'}"
    return ""


def _sql(span: SpanView) -> str:
    return next((str(span.attributes[name]) for name in _SQL if name in span.attributes), "")


def _text(value: Value) -> str:
    return ", ".join(value) if isinstance(value, list) else str(value)


def _existing(ids: Iterable[str], by_id: dict[str, SpanView]) -> Iterator[SpanView]:
    return (by_id[one] for one in ids if one in by_id)


def _pattern(address: str) -> re.Pattern[str]:
    """Return what matches a subject of a channel: with its parameters, or without those that it ends with."""
    fixed = re.split(r"(\{[^}]*\})", address)
    whole = "".join("[^.]+" if part.startswith("{") else re.escape(part) for part in fixed)
    short = re.sub(r"(\.\{[^}]*\})+$", "", address)
    return re.compile(f"{whole}|{re.escape(short)}|{re.escape(address)}")
