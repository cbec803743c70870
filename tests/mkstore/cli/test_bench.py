"""`mkstore bench`: errors of the operator are one sentence, and a quick run writes its report."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mkstore.bench.samples import read_result
from mkstore.cli.main import app

LIMIT = ("--quick", "--scenario", "users-many", "--contender", "limit-asgi")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--scenario", "user-many"], "There is no scenario 'user-many'; there are limits, users-many, users-one,"),
        (["--contender", "express"], "There is no contender 'express'; there are mkstore, mkstore-limits-on,"),
        (["--concurrency", "1;32"], "--concurrency '1;32' must be numbers separated by commas"),
        (["--concurrency", "0,32"], "--concurrency '0,32' has a number below 1."),
        (["--scenario", "limits", "--contender", "limit-asgi"], "None of these contenders has one of these scenarios"),
    ],
)
def test_wrong_option_is_one_sentence(options: list[str], sentence: str) -> None:
    done = CliRunner().invoke(app, ["bench", *options])
    assert done.exit_code == 1
    assert done.stderr.startswith(sentence)
    assert done.stderr.count("\n") == 1


def test_missing_wrk_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    done = CliRunner().invoke(app, ["bench", *LIMIT])
    assert done.exit_code == 1
    assert done.stderr == "The benchmark could not be run: wrk is not installed; install it with `apt install wrk`.\n"


def test_quick_run_measures_and_writes_its_report(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["bench", *LIMIT, "--concurrency", "2", "--report", str(tmp_path)])
    assert done.exit_code == 0, done.output
    (sample,) = read_result(tmp_path / "report.json").samples
    assert (sample.scenario, sample.contender, sample.concurrency) == ("users-many", "limit-asgi", 2)
    assert sample.rate > 0
    assert sample.processor["server"] > 0
    assert not sample.wrong
    assert "| limit-asgi | 2 |" in (tmp_path / "README.md").read_text()
    assert "limit-asgi" in (tmp_path / "throughput.svg").read_text()
    assert json.loads((tmp_path / "report.json").read_text())["machine"]["wrk"]


def test_unwritable_report_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = CliRunner().invoke(app, ["bench", *LIMIT, "--concurrency", "2", "--report", str(tmp_path / "file")])
    assert done.exit_code == 1
    assert done.stderr.startswith("The benchmark could not be run: ")
    assert "Traceback" not in done.output
