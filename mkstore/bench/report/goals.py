"""The figures that this store is meant to reach, and whether a run shows them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mkstore.bench.contenders.registry import STORE, STORE_LIMITS_ON
from mkstore.bench.report.ratios import Case, Figure, Spread, p99, processor, rate, ratio, spread
from mkstore.bench.samples import Sample
from mkstore.bench.scenarios.registry import EVENT_STREAMS, IDLE, KEYED, PAGES, PAYMENTS, USERS_MANY

FASTIFY, DURABLE, MONOLITH = "nestjs-fastify", "nestjs-durable-fastify", "fastapi-monolith"
EMPTY_ROUTE = "limit-fastapi"
_SMALL, _LARGE, _FAR = "1,000 rows, page 1", "1,000,000 rows, page 1", "1,000,000 rows, page 1,000"
_STARTED = "after the start"

Value = Callable[[Sequence[Sample], str], Spread | None]
"""Returns the figure of the contender with this name."""


@dataclass(frozen=True)
class Goal:
    """One figure, with the goal for rate limits off and on, None if there is none."""

    label: str
    value: Value
    off: float | None
    on: float | None = None
    is_maximum: bool = False

    def reached(self, samples: Sequence[Sample], store: str) -> tuple[Spread, bool] | None:
        """Return the figure of a store and whether its median reaches the goal; None without a goal or a figure."""
        goal = self.on if store == STORE_LIMITS_ON else self.off
        value = self.value(samples, store)
        if goal is None or value is None:
            return None
        return value, value.median <= goal if self.is_maximum else value.median >= goal


def every_goal() -> list[Goal]:
    """Return the goals in the order of the report."""
    return [
        _to(USERS_MANY, 32, FASTIFY, 4, 3),
        _to(USERS_MANY, 128, FASTIFY, 6, 4.5),
        _to(USERS_MANY, 32, FASTIFY, 1, 1, figure=p99, name="p99 latency of "),
        _to(USERS_MANY, 128, FASTIFY, 1, 1, figure=p99, name="p99 latency of "),
        _to(PAYMENTS, 32, FASTIFY, 2, 1.7),
        _to(PAYMENTS, 128, FASTIFY, 2.5, 2.2),
        _figure(PAYMENTS, 32, "recorded after the end (s)", 1, 1),
        _figure(PAYMENTS, 128, "recorded after the end (s)", 1, 1),
        _to(PAYMENTS, 32, DURABLE, 3, 2.5),
        _to(PAYMENTS, 128, DURABLE, 3, 2.5),
        _to(KEYED, 32, FASTIFY, 0.8),
        _to(KEYED, 128, FASTIFY, 1.5),
        _to(PAYMENTS, 32, MONOLITH, 1.5),
        _to(PAYMENTS, 128, MONOLITH, 1.5),
        _to(USERS_MANY, 32, EMPTY_ROUTE, 0.85),
        _to(USERS_MANY, 128, EMPTY_ROUTE, 1.5),
        _page_time(_LARGE),
        _page_time(_FAR),
        _growth(USERS_MANY, 1, 32),
        _growth(USERS_MANY, 32, 128),
        _growth(PAYMENTS, 1, 32),
        _growth(PAYMENTS, 32, 128),
        _memory("services RSS (MB)"),
        _memory("services PSS (MB)"),
        _events_p99(),
    ]


def _to(
    scenario: str,
    concurrency: int,
    peer: str,
    off: float,
    on: float | None = None,
    *,
    figure: Figure = rate,
    name: str = "",
) -> Goal:
    def value(samples: Sequence[Sample], store: str) -> Spread | None:
        return ratio(samples, Case(scenario, store, concurrency), Case(scenario, peer, concurrency), figure)

    return Goal(f"{name}{scenario}, c={concurrency}, to {peer}", value, off, on, is_maximum=figure is p99)


def _figure(scenario: str, concurrency: int, name: str, off: float, on: float) -> Goal:
    def value(samples: Sequence[Sample], store: str) -> Spread | None:
        return spread(samples, Case(scenario, store, concurrency), lambda sample: sample.figures[name])

    return Goal(f"{scenario}, c={concurrency}, {name}", value, off, on, is_maximum=True)


def _page_time(variant: str) -> Goal:
    def value(samples: Sequence[Sample], store: str) -> Spread | None:
        cases = {sample.concurrency for sample in samples if sample.scenario == PAGES}
        if not cases:
            return None
        small, large = (Case(PAGES, store, min(cases), name) for name in (_SMALL, variant))
        return ratio(samples, small, large)  # of rates, so the inverse ratio of times

    return Goal(f"time of {variant}, to {_SMALL}", value, 1.2, is_maximum=True)


def _growth(scenario: str, few: int, many: int) -> Goal:
    def value(samples: Sequence[Sample], store: str) -> Spread | None:
        return ratio(samples, Case(scenario, store, many), Case(scenario, store, few), processor)

    return Goal(f"{scenario}, processor per request, c={many} to c={few}", value, 1, is_maximum=True)


def _memory(name: str) -> Goal:
    def value(samples: Sequence[Sample], store: str) -> Spread | None:
        own, peer = Case(IDLE, store, 0, _STARTED), Case(IDLE, FASTIFY, 0, _STARTED)
        return ratio(samples, own, peer, lambda sample: sample.figures[name])

    return Goal(f"idle {name}, to {FASTIFY}", value, 0.85, is_maximum=True)


def _events_p99() -> Goal:
    def value(samples: Sequence[Sample], store: str) -> Spread | None:
        delays = [
            sample.figures["acceptance to client p99 (ms)"]
            for sample in samples
            if (sample.scenario, sample.contender) == (EVENT_STREAMS, store)
        ]
        return Spread.of(delays) if delays else None

    return Goal("1,000 event streams, acceptance to client, p99 (ms)", value, 500, 500, is_maximum=True)


STORES = (STORE, STORE_LIMITS_ON)
