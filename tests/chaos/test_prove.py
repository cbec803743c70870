"""`mkstore prove`: the short run succeeds."""

import json
import subprocess
from pathlib import Path

from kit.runtime import failpoints
from mkstore.chaos.faults import every_fault
from mkstore.chaos.store import PROCESSES
from mkstore.chaos.verdict import Verdict
from tests.support.running_store import MKSTORE

VIOLATIONS = Verdict().violations


def test_short_run_loses_nothing_and_writes_its_report(tmp_path: Path) -> None:
    done = subprocess.run(
        [MKSTORE, "prove", "--short", "--json", "--report", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=290,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads(done.stdout)
    assert {f"kill -9 {name}" for name in PROCESSES} < {row["fault"] for row in rows}
    assert all(row["accepted"] >= 100 for row in rows)
    assert not any(row[violation] for row in rows for violation in VIOLATIONS)
    summary = json.loads((tmp_path / "report.json").read_text())["summary"]
    assert summary["faults"] == len(rows)
    assert summary["accepted"] == sum(row["accepted"] for row in rows)
    assert f"**{len(rows)} faults" in (tmp_path / "README.md").read_text()
    assert "kill -9 nats" in (tmp_path / "timeline.svg").read_text()


def test_long_run_covers_every_process() -> None:
    names = [fault.name for fault in every_fault()]
    assert len(set(names)) == len(names) >= 30
    for name in PROCESSES:
        restart = "SIGINT postgres" if name == "postgres" else f"SIGTERM {name}"
        assert {f"kill -9 {name}", restart, f"{name} paused for 10 s"} <= set(names)


def test_long_run_reaches_every_failpoint() -> None:
    points = {value for name, value in vars(failpoints).items() if name.isupper()} - {failpoints.POISON}
    faults = [fault.name for fault in every_fault()]
    assert {name.partition(".")[2] for name in faults if name.startswith("dies at")} == points
    assert "a command kills its process" in faults  # by POISON, whose file stays
