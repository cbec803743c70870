"""`python -m contract_gate`: exit codes and output."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from contract_gate.__main__ import main
from tests.conftest import ROOT
from tests.contract_gate.projects import AFFECTED, BREAK, LOOSER, announce, write


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two versions in `old` and `broken`, and a compatible one in `looser`."""
    write(tmp_path / "old")
    write(tmp_path / "broken", BREAK)
    write(tmp_path / "looser", LOOSER)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("folder")
def test_unannounced_break_exits_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["old", "broken"]) == 1
    assert f"affects: {AFFECTED}" in capsys.readouterr().out
    assert main(["old/asyncapi/users.json", "broken", "--json"]) == 1
    assert [change["id"] for change in json.loads(capsys.readouterr().out)["changes"]] == [BREAK.id]


def test_safe_and_announced_changes_exit_with_0(folder: Path) -> None:
    assert main(["old", "looser"]) == 0
    announce(folder, {"id": BREAK.id, "reason": "On purpose."})
    assert main(["old", "broken"]) == 0
    (folder / "asyncapi/announced.yaml").rename(folder / "meant.yaml")
    assert main(["old", "broken", "--announced", "meant.yaml"]) == 0


@pytest.mark.usefixtures("folder")
def test_unreadable_version_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["old", "nothing"]) == 2
    assert "nothing is neither a file nor a folder nor a git revision." in capsys.readouterr().err


def test_command_runs_without_our_packages(folder: Path) -> None:
    (folder / "contract_gate").symlink_to(ROOT / "contract_gate")
    done = subprocess.run(
        [sys.executable, "-m", "contract_gate", "old", "broken"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert "1 breaking" in done.stdout
