"""Failpoints run in a subprocess, because a failpoint kills the process that reaches it."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kit.runtime.settings import Settings, load

PROGRAM = """
import sys
from kit.runtime.failpoints import AFTER_COMMIT, BEFORE_COMMIT, arm, failpoint
arm(sys.argv[1], "payments")
for number in range(3):
    failpoint(BEFORE_COMMIT)
    print(number, flush=True)
    failpoint(AFTER_COMMIT)
"""


def run(folder: str) -> tuple[int, str]:
    done = subprocess.run([sys.executable, "-c", PROGRAM, folder], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


def test_failpoint_file_kills_one_process_once(tmp_path: Path) -> None:
    (tmp_path / "payments.after-commit").touch()
    (tmp_path / "users.before-commit").touch()  # for another service
    assert run(str(tmp_path)) == (-signal.SIGKILL, "0\n")
    assert run(str(tmp_path)) == (0, "0\n1\n2\n")
    assert [file.name for file in tmp_path.iterdir()] == ["users.before-commit"]


def test_failpoints_are_off_without_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "payments.before-commit").touch()
    assert run("") == (0, "0\n1\n2\n")


def test_production_refuses_failpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"APP_ENV": "production", "FAILPOINTS": "somewhere"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit, match="FAILPOINTS must not be set in production"):
        load(Settings)
