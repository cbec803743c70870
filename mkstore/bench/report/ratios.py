"""Ratios of figures that were measured in the same round, with their spread."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from mkstore.bench.samples import Sample

Figure = Callable[[Sample], float]


@dataclass(frozen=True)
class Spread:
    """The median of some figures, the lowest and the highest."""

    median: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Return the spread of at least one value."""
        return cls(median(values), min(values), max(values))

    def text(self, digits: int = 2) -> str:
        """Return the median, and in brackets the lowest and the highest."""
        one = f"{self.median:,.{digits}f}"
        return (
            one if self.lowest == self.highest else f"{one} ({self.lowest:,.{digits}f} to {self.highest:,.{digits}f})"
        )


@dataclass(frozen=True)
class Case:
    """What a figure belongs to."""

    scenario: str
    contender: str
    concurrency: int
    variant: str = ""

    def holds(self, sample: Sample) -> bool:
        """Return whether a sample belongs to it."""
        return self == case_of(sample)


def case_of(sample: Sample) -> Case:
    """Return the case of a sample."""
    return Case(sample.scenario, sample.contender, sample.concurrency, sample.variant)


def rate(sample: Sample) -> float:
    """Return successful requests per second."""
    return sample.rate


def p99(sample: Sample) -> float:
    """Return the 99th percentile of the latency in milliseconds."""
    return sample.latency.get("p99", 0.0)


def processor(sample: Sample) -> float:
    """Return microseconds of processor time per request, of all parts but the load."""
    return sum(used for part, used in sample.processor.items() if part != "load")


def spread(samples: Iterable[Sample], case: Case, figure: Figure = rate) -> Spread | None:
    """Return the spread of a figure over the rounds; None if it was not measured."""
    values = [figure(sample) for sample in samples if case.holds(sample)]
    return Spread.of(values) if values else None


def ratio(samples: Sequence[Sample], case: Case, to: Case, figure: Figure = rate) -> Spread | None:
    """Return the spread of the ratio of `case` to another one, each computed within one round.

    None if no round has both. Rounds in which the other figure is 0 are left out.
    """
    above = {sample.round: figure(sample) for sample in samples if case.holds(sample)}
    below = {sample.round: figure(sample) for sample in samples if to.holds(sample)}
    ratios = [above[number] / below[number] for number in above.keys() & below.keys() if below[number]]
    return Spread.of(ratios) if ratios else None
