"""The command `mkstore` starts fast, since slow packages are imported by the commands that need them; typing errors."""

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from mkstore.cli.main import app

SLOW = {"alembic", "contract_gate", "faststream", "matplotlib", "nats", "pydantic_settings", "sqlalchemy"}
PROGRAM = "import sys, mkstore.cli.main, mkstore.stack.console; print(*sys.modules)"


def test_help_and_up_import_no_slow_package() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert not SLOW & set(done.stdout.split())


@pytest.mark.parametrize(
    ("name", "suggestion"), [("pu", " Did you mean 'up'?"), ("statu", " Did you mean 'status'?"), ("xyz", "")]
)
def test_unknown_command_gets_a_suggestion(name: str, suggestion: str) -> None:
    done = CliRunner().invoke(app, [name])
    assert done.exit_code == 2
    text = " ".join(done.output.replace("│", " ").split())
    assert f"No such command '{name}'.{suggestion} ╰" in text
