"""The report of a recorded run."""

from dataclasses import replace
from pathlib import Path

import pytest

from mkstore.bench.report import files
from mkstore.bench.report.goals import every_goal
from mkstore.bench.samples import Result, Sample, read_result

RECORDED = Path(__file__).with_name("recorded_result.json")


@pytest.fixture(scope="module")
def recorded() -> Result:
    """Return the result of a real run of the store and of the limits."""
    return read_result(RECORDED)


def test_report_has_tables_plots_and_the_machine(recorded: Result, tmp_path: Path) -> None:
    files.write(recorded, tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert f"```sh\nuv run {recorded.command}\n```" in text
    assert f"At commit {recorded.machine['commit']}" in text
    for heading in (
        "## Goals",
        "## users-many",
        "## payments",
        "## limits",
        "## event-streams",
        "## idle",
        "## Machine",
    ):
        assert f"\n{heading}\n" in text
    for plot in ("throughput", "latency", "processor", "memory"):
        assert f"({plot}.svg)" in text
        assert (tmp_path / f"{plot}.svg").stat().st_size > 1000
    assert "| limit-asgi | 32 |" in text
    assert f"| nats-server | {recorded.machine['nats-server']} |" in text
    assert [line for line in text.splitlines() if len(line) > 120 and not line.startswith("|")] == []


def test_same_result_gives_the_same_files(recorded: Result, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    files.write(recorded, first)
    files.write(read_result(first / "report.json"), second)
    for file in first.iterdir():
        assert file.read_bytes() == (second / file.name).read_bytes(), file.name


def test_failures_and_wrong_responses_are_listed(recorded: Result, tmp_path: Path) -> None:
    bad = replace(recorded.samples[-1], failures={"status": 3}, wrong=("GET /users/7: wrong content " + "x" * 300,))
    files.write(replace(recorded, samples=(*recorded.samples[:-1], bad)), tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert "3 of them failed" in text
    assert f"{bad.contender}: 3 of the kind status" in text
    assert "`GET /users/7: wrong content xxx" in text
    assert "No checked response" not in text


@pytest.mark.parametrize(("rate", "shown"), [(4000, "| ≥ 4 | 4.00 |"), (3900, "| ≥ 4 | **3.90** |")])
def test_a_missed_goal_is_bold(recorded: Result, tmp_path: Path, rate: float, shown: str) -> None:
    samples = (
        Sample(1, "users-many", "mkstore", 32, rate=rate),
        Sample(1, "users-many", "nestjs-fastify", 32, rate=1000),
    )
    files.write(replace(recorded, samples=samples), tmp_path)
    assert f"| users-many, c=32, to nestjs-fastify {shown} - | - |" in (tmp_path / "README.md").read_text()


def test_every_goal_has_its_own_name() -> None:
    names = [goal.label for goal in every_goal()]
    assert len(names) == len(set(names)) >= 20


def test_goals_without_figures_are_left_out(recorded: Result) -> None:
    assert not [goal.label for goal in every_goal() if goal.reached((), "mkstore")]
    reached = [goal.label for goal in every_goal() if goal.reached(recorded.samples, "mkstore")]
    assert "1,000 event streams, acceptance to client, p99 (ms)" in reached
    assert not [label for label in reached if "nestjs" in label]
