"""Counts, durations and levels of this process, by prometheus_client; `kit.ops.metrics` exports them.

Each is made once, at the top of the module that observes it. Labels have few values: routes, subjects, consumers and
outcomes, never ids. prometheus_client finds a metric's child by its labels in 3 µs, and a dictionary in 0.1.
"""

from collections.abc import Callable
from typing import NamedTuple

from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the buckets of durations, in seconds."""

disable_created_metrics()  # type: ignore[no-untyped-call] # a further line per metric, which Prometheus does not use

Labels = tuple[str, ...]
"""The values of the labels, in their order."""


class Durations:
    """A histogram of durations by labels; `name` ends in `_seconds`."""

    def __init__(self, name: str, meaning: str, labels: Labels) -> None:
        self._histogram = Histogram(name, meaning, labels, buckets=BOUNDS)
        self._children: dict[Labels, Histogram] = {}

    def observe(self, labels: Labels, seconds: float) -> None:
        """Add one duration."""
        child = self._children.get(labels)
        if child is None:
            child = self._children[labels] = self._histogram.labels(*labels)
        child.observe(seconds)


class Counts:
    """A counter by labels; `name` ends in `_total`."""

    def __init__(self, name: str, meaning: str, labels: Labels = ()) -> None:
        self._counter = Counter(name, meaning, labels)
        self._children: dict[Labels, Counter] = {}

    def add(self, labels: Labels = (), number: int = 1) -> None:
        """Add to a count."""
        child = self._children.get(labels)
        if child is None:
            child = self._children[labels] = self._counter.labels(*labels) if labels else self._counter
        child.inc(number)


class Level(NamedTuple):
    """A gauge, and what reads its value every second; of several processes the gauge has the sum or the maximum."""

    gauge: Gauge
    read: Callable[[], float]


def sum_of_processes(name: str, meaning: str, labels: Labels = ()) -> Gauge:
    """Return a gauge that has the sum over all processes of the service."""
    return Gauge(name, meaning, labels, multiprocess_mode="livesum")


def maximum_of_processes(name: str, meaning: str, labels: Labels = ()) -> Gauge:
    """Return a gauge that has the maximum over all processes of the service."""
    return Gauge(name, meaning, labels, multiprocess_mode="livemax")


def latest_of_processes(name: str, meaning: str, labels: Labels = ()) -> Gauge:
    """Return a gauge of a Unix time in seconds; of several processes it has the latest, also when one has ended."""
    return Gauge(name, meaning, labels, multiprocess_mode="max")
