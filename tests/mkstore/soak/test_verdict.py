"""What a long run regards as a leak, and its report."""

import json
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from mkstore.bench.load.target import Target
from mkstore.soak import report
from mkstore.soak.readings import MEGABYTE, Reading, growth, slope
from mkstore.soak.run import Rest, Soaked
from mkstore.soak.traffic import Traffic

MINUTES = 20


def soaked(
    *,
    per_ten_minutes: float = 0.0,
    warm_up: float = 0.0,
    more_files: int = 0,
    ended: bool = False,
    nats: float = 0.0,
) -> Soaked:
    """Return a run whose gateway grows by megabytes per ten minutes; before that by `warm_up` megabytes in all.

    What is live in NATS grows by `nats` megabytes per ten minutes.
    """

    def size(at: float) -> int:
        return round((50 + min(at, 300) / 300 * warm_up + at / 600 * per_ten_minutes) * MEGABYTE)

    readings = [Reading(at, {"gateway": size(at)}, {"gateway": 40}) for at in range(0, MINUTES * 60, 5)]
    files = {} if ended else {"gateway": 40 + more_files}
    traffic = Traffic(Target("store", "", dict), Random(1))
    traffic.outcomes["pay"] = 9
    rests = Rest(270.0, 300.0, 9 * MEGABYTE), Rest(1200.0, 1230.0, round((9 + 1.5 * nats) * MEGABYTE))
    return Soaked(MINUTES, 100, traffic, readings, readings[0], Reading(MINUTES * 60, {}, files), rests)


def test_slope_is_hardly_changed_by_a_peak() -> None:
    points = [(float(at), 2.0 * at) for at in range(20)]
    points[7] = (7.0, 500.0)
    rate, low, high = slope(points)
    assert rate == pytest.approx(2.0, rel=0.02)
    assert low <= rate <= high < 10
    assert slope(points[:1]) == slope([]) == (0.0, 0.0, 0.0)


def test_growth_is_per_ten_minutes() -> None:
    assert growth(soaked(per_ten_minutes=3).readings, "gateway").rate == pytest.approx(3, rel=0.01)


def test_growth_during_the_warm_up_is_no_fault() -> None:
    assert soaked(warm_up=80, per_ten_minutes=0.5, more_files=20).faults() == []


def test_memory_that_rises_and_falls_is_no_fault_and_a_leak_below_it_is() -> None:
    def run(per_ten_minutes: float) -> Soaked:
        level = soaked(per_ten_minutes=per_ten_minutes)
        readings = [
            Reading(each.at, {"gateway": each.memory["gateway"] + round(each.at % 400 / 20 * MEGABYTE)}, each.files)
            for each in level.readings
        ]
        return replace(level, readings=readings)

    assert run(0).faults() == []
    assert len(run(20).faults()) == 1


@pytest.mark.parametrize(
    ("run", "fault"),
    [
        (soaked(per_ten_minutes=1.5), "gateway grows by 1.50 (1.50 to 1.50) MB per ten minutes, at most 1 is allowed"),
        (soaked(nats=1.5), "nats, live grows by 1.50 (1.50 to 1.50) MB per ten minutes, at most 1 is allowed"),
        (soaked(more_files=21), "gateway has 21 more open files after the load than before it"),
        (soaked(ended=True), "gateway has ended"),
    ],
)
def test_leak_is_named(run: Soaked, fault: str) -> None:
    assert run.faults() == [fault]


def test_failed_request_is_a_fault() -> None:
    run = soaked()
    run.traffic.failed, run.traffic.faults = 2, ["pay: 503 unavailable"]
    assert run.faults() == ["2 requests failed, such as pay: 503 unavailable"]


def test_report_has_each_process(tmp_path: Path) -> None:
    report.write(soaked(per_ten_minutes=0.5), tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert "**9 requests, 0 failed**" in text
    assert "| gateway | 50.0 | 51.0 | 0.50 (0.50 to 0.50) | 0 |" in text
    assert "| nats, live | 9.0 | 9.0 | 0.00 |  |" in text
    figures = json.loads((tmp_path / "report.json").read_text())
    assert len(figures["readings"]) == MINUTES * 12
    assert (tmp_path / "memory.svg").read_text().startswith("<?xml")
