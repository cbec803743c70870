"""Dying at a named point, once and for certain."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from kit.runtime.settings import Settings

PROGRAM = """
import sys
from kit.runtime.failpoints import AFTER_COMMIT, BEFORE_COMMIT, arm, reached
arm(sys.argv[1], "payments")
for number in range(3):
    reached(BEFORE_COMMIT)
    print(number, flush=True)
    reached(AFTER_COMMIT)
"""


def run(folder: str) -> tuple[int, str]:
    done = subprocess.run([sys.executable, "-c", PROGRAM, folder], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


def test_a_process_dies_at_the_point_that_a_file_names_and_the_next_one_lives(tmp_path: Path) -> None:
    (tmp_path / "payments.after-commit").touch()
    (tmp_path / "users.before-commit").touch()  # another service's
    assert run(str(tmp_path)) == (-signal.SIGKILL, "0\n")
    assert run(str(tmp_path)) == (0, "0\n1\n2\n")
    assert [file.name for file in tmp_path.iterdir()] == ["users.before-commit"]


def test_nothing_dies_where_no_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "payments.before-commit").touch()
    assert run("") == (0, "0\n1\n2\n")


def test_production_refuses_failpoints() -> None:
    with pytest.raises(ValidationError, match="FAILPOINTS must not be set in production"):
        Settings(app_env="production", failpoints="somewhere")
