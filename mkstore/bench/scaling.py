"""A model of the cost of payments in shards, fitted to one shard: what the measurement of more shards is compared with.

The processor time of a payment has three terms: a part for each payment, one for each message that carries payments,
and one for each second in which a shard runs (its calls of the handler, the relay, checks), whatever its load:

    time(rate, size) = payment + message / size + second / rate

With N shards and the same clients, a message carries a N-th of the payments, and there are N such seconds. A machine
that has `capacity` seconds of processor time a second, the load's included, then takes at most

    rate = (capacity - N * second) / (payment + N * message / size)

`python -m mkstore.bench.scaling REPORT.json` prints the fit and the predictions for 2 and 4 shards.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import median

from mkstore.bench.samples import Sample, read_result

ONE_SHARD = "mkstore"
SIZE = "payments in a message"
_MICRO = 1e-6


@dataclass(frozen=True)
class Point:
    """One turn: payments per second, payments in a message, and microseconds of a payment by part."""

    concurrency: int
    rate: float
    size: float
    times: Mapping[str, float]

    @property
    def total(self) -> float:
        """Microseconds of processor time of a payment, that of the load included."""
        return sum(self.times.values())


@dataclass(frozen=True)
class Costs:
    """The terms of the model, in microseconds; `second` is microseconds a second and shard."""

    payment: float
    message: float
    second: float

    def time(self, rate: float, size: float) -> float:
        """Return the processor time of a payment, in microseconds."""
        return self.payment + self.message / size + self.second / rate


def turns(samples: Iterable[Sample], contender: str = ONE_SHARD) -> list[Point]:
    """Return each turn of a contender whose messages were counted."""
    own = [each for each in samples if each.contender == contender and SIZE in each.figures]
    return [Point(each.concurrency, each.rate, each.figures[SIZE], _parts(each)) for each in own]


def medians(found: Sequence[Point]) -> list[Point]:
    """Return the medians of the turns with the same number of connections."""
    by_connections = [
        [each for each in found if each.concurrency == concurrency]
        for concurrency in sorted({each.concurrency for each in found})
    ]
    return [
        Point(
            same[0].concurrency,
            median(each.rate for each in same),
            median(each.size for each in same),
            {part: median(each.times[part] for each in same) for part in same[0].times},
        )
        for same in by_connections
    ]


def fit(measured: Sequence[Point]) -> Costs:
    """Return the terms, none below 0, with the least squares of the relative errors."""
    rows = [[1 / each.total, 1 / each.size / each.total, 1 / each.rate / each.total] for each in measured]
    best, least = [0.0, 0.0, 0.0], float("inf")
    for kept in product((True, False), repeat=3):  # the best fit without negative terms has some of them 0
        terms = _least_squares(rows, [place for place in range(3) if kept[place]])
        error = sum((sum(x * y for x, y in zip(row, terms, strict=True)) - 1) ** 2 for row in rows)
        if min(terms) >= 0 and error < least:
            best, least = terms, error
    return Costs(*best)


def _least_squares(rows: Sequence[Sequence[float]], places: Sequence[int]) -> list[float]:
    """Return three terms whose products with each row are nearest to 1; those at other `places` are 0."""
    # The normal equations, solved by elimination.
    matrix = [[sum(row[a] * row[b] for row in rows) for b in places] + [sum(row[a] for row in rows)] for a in places]
    for at in range(len(places)):
        for other in range(len(places)):
            if other != at and matrix[at][at]:
                factor = matrix[other][at] / matrix[at][at]
                matrix[other] = [x - factor * y for x, y in zip(matrix[other], matrix[at], strict=True)]
    terms = [0.0, 0.0, 0.0]
    for at, place in enumerate(places):
        terms[place] = matrix[at][-1] / matrix[at][at] if matrix[at][at] else 0.0
    return terms


def predict(costs: Costs, one: Point, shards: int) -> Point:
    """Return the turn of `one` with several shards on the same machine, whose capacity is that of `one`."""
    capacity, size = one.rate * one.total * _MICRO, one.size / shards
    second = costs.second * _MICRO * shards
    # The residual of the fit at this point belongs to a payment.
    payment = one.total - costs.message / one.size - costs.second / one.rate
    rate = (capacity - second) / ((payment + costs.message / size) * _MICRO)
    return Point(one.concurrency, rate, size, {"all": capacity / rate / _MICRO})


def _parts(turn: Sample) -> dict[str, float]:
    """Return the time of each part; all shards are one part."""
    parts: dict[str, float] = {}
    for part, time in turn.processor.items():
        service = part.partition("-")[0]
        parts[service] = parts.get(service, 0.0) + time
    return parts


def report(samples: Sequence[Sample]) -> Iterator[str]:
    """Yield lines: the fit, the predictions, and what was measured beside them."""
    found = turns(samples)
    costs, measured = fit(found), medians(found)
    yield f"payment {costs.payment:.0f} µs, message {costs.message:.0f} µs, second of a shard {costs.second:.0f} µs"
    if not min(costs.payment, costs.message, costs.second):
        yield "These turns do not tell the terms apart: rate and size change together. Add turns with few connections."
        return
    for one in measured:
        yield f"c={one.concurrency}, 1 shard measured: {_text(one)}; fit {costs.time(one.rate, one.size):.0f} µs"
        for shards in (2, 4):
            expected = predict(costs, one, shards)
            yield f"  {shards} shards predicted: {_text(expected)}"
            for other in medians(turns(samples, f"{ONE_SHARD}-{shards}-shards")):
                if other.concurrency == one.concurrency:
                    errors = f"rate {other.rate / expected.rate - 1:+.0%}, time {other.total / expected.total - 1:+.0%}"
                    yield f"  {shards} shards measured: {_text(other)}; {errors}"


def _text(point: Point) -> str:
    parts = ", ".join(f"{part} {time:.0f}" for part, time in point.times.items() if len(point.times) > 1)
    sizes = f"{point.rate:,.0f}/s, {point.total:.0f} µs, {point.size:.1f} in a message"
    return f"{sizes} ({parts})" if parts else sizes


if __name__ == "__main__":
    sys.stdout.writelines(f"{line}\n" for line in report(read_result(Path(sys.argv[1])).samples))
