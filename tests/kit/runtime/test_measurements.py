"""Counts and durations as Prometheus sees them: of one process, and of all workers of a service."""

import subprocess
import sys
from pathlib import Path

from prometheus_client import REGISTRY

from kit.runtime.measurements import Counts, Durations

WAITS = Durations("tests_wait_seconds", "How long it took.", ("place", "outcome"))
KNOCKS = Counts("tests_knocks_total", "Knocks.")
DOORS = Counts("tests_doors_total", "Doors.", ("color",))

WORKER = """
import asyncio, sys
from kit.ops.metrics import Metrics
from kit.runtime.measurements import Counts, Durations, Level, maximum_of_processes, sum_of_processes

COUNTS, DURATIONS = Counts("tests_calls_total", "Calls."), Durations("tests_call_seconds", "Calls.", ("to",))
FULL, HIGH = sum_of_processes("tests_full", "Sum."), maximum_of_processes("tests_high", "Maximum.")
number = int(sys.argv[1])
COUNTS.add(number=number)
DURATIONS.observe(("door",), number)
text = asyncio.run(Metrics(levels=[Level(FULL, lambda: number), Level(HIGH, lambda: number)]).text())
print(text.decode(), flush=True)
sys.stdin.read()
"""
"""A worker: it counts, sets its levels, prints what all workers have so far, and lives until its input ends."""


def test_durations_are_a_histogram_by_labels() -> None:
    for seconds in (0.001, 0.0011, 99.0):
        WAITS.observe(("door", "ok"), seconds)
    labels = {"place": "door", "outcome": "ok"}

    def bucket(bound: str) -> float | None:
        return REGISTRY.get_sample_value("tests_wait_seconds_bucket", {**labels, "le": bound})

    assert [bucket(bound) for bound in ("0.001", "0.0025", "10.0", "+Inf")] == [1, 2, 2, 3]
    assert REGISTRY.get_sample_value("tests_wait_seconds_sum", labels) == 0.001 + 0.0011 + 99


def test_counts_have_labels_or_none() -> None:
    KNOCKS.add()
    KNOCKS.add(number=2)
    DOORS.add(("red",))
    DOORS.add(("green",), 5)
    assert REGISTRY.get_sample_value("tests_knocks_total") == 3
    assert REGISTRY.get_sample_value("tests_doors_total", {"color": "green"}) == 5


def _worker(folder: Path, number: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, str(number)],
        env={"PROMETHEUS_MULTIPROC_DIR": str(folder)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _first_lines(worker: subprocess.Popen[str]) -> set[str]:
    """Return the lines of a worker up to the empty one that ends its print."""
    assert worker.stdout is not None
    return {line.strip() for line in iter(worker.stdout.readline, "\n")}


def test_each_worker_reports_what_all_have_counted(tmp_path: Path) -> None:
    first = _worker(tmp_path, 1)
    assert {"tests_calls_total 1.0", "tests_full 1.0", "tests_high 1.0"} <= _first_lines(first)
    with _worker(tmp_path, 5) as second:
        both = _first_lines(second)
        assert {"tests_calls_total 6.0", "tests_full 6.0", "tests_high 5.0"} <= both
        assert {'tests_call_seconds_bucket{le="1.0",to="door"} 1.0', 'tests_call_seconds_count{to="door"} 2.0'} <= both
        second.communicate()
    first.kill()
    first.communicate()
    with _worker(tmp_path, 2) as third:  # the killed one has no level any more, and its counts stay
        assert {"tests_calls_total 8.0", "tests_full 2.0", "tests_high 2.0"} <= _first_lines(third)
        third.communicate()
