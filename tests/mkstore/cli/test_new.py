"""`mkstore new` on the command line; tests/docs carries it out in a copy of the project."""

import re

import pytest
from typer.testing import CliRunner

from mkstore.cli.main import app
from mkstore.cli.new import OCCURRENCE
from tests.conftest import ROOT


def new(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["new", *arguments])
    return done.exit_code, done.output


@pytest.mark.parametrize(
    ("arguments", "created", "changed"),
    [
        (["service", "invoices"], "apps/invoices/main.py", "docker-compose.yml"),
        (["event", "payments", "PaymentFlagged"], "tests/payments/test_payment_flagged.py", "contracts/payments.py"),
        (
            ["event", "users", "UserFlagged", "--consumer", "payments"],
            "tests/payments/test_on_user_flagged.py",
            "contracts/consumers.py",
        ),
        (
            ["request", "users", "CountUsers", "--reply", "UserCount"],
            "tests/users/test_count_users.py",
            "contracts/users.py",
        ),
    ],
)
def test_dry_run_lists_files_and_writes_none(arguments: list[str], created: str, changed: str) -> None:
    before = (ROOT / changed).read_bytes()
    code, output = new(*arguments, "--dry-run")
    assert code == 0
    assert {f"create {created}", f"change {changed}"} <= set(output.splitlines())
    assert not (ROOT / created).exists()
    assert (ROOT / changed).read_bytes() == before


@pytest.mark.parametrize(
    "arguments",
    [
        ["service", "Invoices"],
        ["service", "gateway"],
        ["service", "payments"],
        ["service", "stock"],
        ["event", "payments", "FlagPayment"],
        ["event", "payments", "UserFlagged"],
        ["event", "refunds", "RefundMarked"],
        ["event", "users", "UserCreated"],
        ["event", "payments", "PaymentFlagged", "--consumer", "payments"],
        ["request", "users", "count"],
        ["request", "users", "GetUsers"],
        ["request", "users", "CountUsers", "--reply", "CountUsers"],
        ["request", "gateway", "CountRoutes"],
    ],
    ids=" ".join,
)
def test_refused_name_gets_one_sentence(arguments: list[str]) -> None:
    code, output = new(*arguments)
    assert code == 1
    assert len(output.splitlines()) == 1
    assert output.endswith(".\n")


def test_session_in_which_a_new_message_has_to_occur_exists() -> None:
    [function] = re.findall(r"`(\w+)`", OCCURRENCE)
    [file] = re.findall(r"tests/[\w/]+\.py", OCCURRENCE)
    assert f"async def {function}(" in (ROOT / file).read_text()
