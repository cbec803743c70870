"""The command `mkstore` starts fast: slow packages are imported by the commands that need them."""

import subprocess
import sys

SLOW = {"alembic", "contract_gate", "faststream", "matplotlib", "nats", "pydantic_settings", "sqlalchemy"}
PROGRAM = "import sys, mkstore.cli.main, mkstore.stack.console; print(*sys.modules)"


def test_help_and_up_import_no_slow_package() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert not SLOW & set(done.stdout.split())
