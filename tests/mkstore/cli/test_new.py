"""`mkstore new service` on the command line; tests/docs carries it out in a copy of the project."""

import pytest
from typer.testing import CliRunner

from mkstore.cli.main import app
from tests.conftest import ROOT


def new_service(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["new", "service", *arguments])
    return done.exit_code, done.output


def test_dry_run_lists_files_and_writes_none() -> None:
    code, output = new_service("invoices", "--dry-run")
    assert code == 0
    assert {"create apps/invoices/main.py", "change docker-compose.yml"} <= set(output.splitlines())
    assert not (ROOT / "apps/invoices").exists()


@pytest.mark.parametrize("name", ["Invoices", "gateway", "payments", "stock"])
def test_refused_name_gets_one_sentence(name: str) -> None:
    code, output = new_service(name)
    assert code == 1
    assert len(output.splitlines()) == 1
    assert output.endswith(".\n")
