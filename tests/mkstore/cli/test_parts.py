"""`mkstore up --only` and `--without`, and the environment of a service that then runs elsewhere."""

import asyncio
import stat
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest
from typer.testing import CliRunner

from mkstore.cli.main import app
from mkstore.cli.up import chosen
from mkstore.stack.managed_process import MARK
from tests.support.running_store import MKSTORE, running

LAUNCH = (sys.executable, str(Path(__file__).parents[1] / "fakes" / "launch.py"))


def test_service_that_is_left_out_can_run_elsewhere(tmp_path: Path) -> None:
    """Its database and its logins exist, and `mkstore env` prints what it needs to be started by hand."""
    with running("0", str(tmp_path), "1", "without:users", "without:gateway", command=LAUNCH) as mkstore:
        assert set(mkstore.record) == {"payments", "nats", "postgres"}
        assert "mkstore is ready: without a gateway" in mkstore.text
        command = [MKSTORE, "env", "--home", str(tmp_path), "--service"]
        printed = subprocess.run([*command, "users"], capture_output=True, text=True, check=True).stdout
        environment = dict(line.split("=", 1) for line in printed.splitlines())
        server = mkstore.record["nats"]["url"].rpartition("@")[2]
        assert environment["NATS_URL"].startswith("nats://users:")
        assert environment["NATS_URL"].endswith(f"@{server}")
        assert {"JWT_SECRET", "DB_PASSWORD", "NATS_API_PREFIX", "APP_ENV"} <= set(environment)
        assert not {"PATH", "HOME", MARK} & set(environment)
        login = f"{environment['DB_USER']}:{environment['DB_PASSWORD']}@127.0.0.1:{environment['DB_PORT']}"
        assert asyncio.run(_database_at(f"postgresql://{login}/users_db")) == "users_db"

        unknown = subprocess.run([*command, "user"], capture_output=True, text=True, check=False)
        assert (unknown.returncode, unknown.stdout) == (1, "")
        assert unknown.stderr == "There is no service 'user'; there are users, payments, gateway.\n"
        assert stat.S_IMODE((tmp_path / "environments.json").stat().st_mode) == 0o600
    assert not (tmp_path / "environments.json").exists()


def test_changed_code_restarts_the_services_at_their_addresses(tmp_path: Path) -> None:
    code = tmp_path / "code"
    code.mkdir()
    options = ("0", str(tmp_path / "home"), "1", "without:payments", f"reload:{code}")
    with running(*options, command=LAUNCH) as mkstore:
        before = mkstore.record
        (code / "new.py").write_text("changed = True\n")
        mkstore.wait_for("the services run the changed code")
        after = mkstore.record
        assert {name: entry["url"] for name, entry in after.items()} == {
            name: entry["url"] for name, entry in before.items()
        }
        changed = {name for name in before if after[name]["pid"] != before[name]["pid"]}
        assert changed == {"users", "gateway"}


async def _database_at(url: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval("SELECT current_database()")
    finally:
        await connection.close()


@pytest.mark.parametrize(
    ("only", "without", "expected"),
    [
        (None, None, {"users", "payments", "gateway"}),
        ("nats,postgres", None, set()),
        ("users, nats", None, {"users"}),
        (None, "users", {"payments", "gateway"}),
    ],
)
def test_parts_are_chosen_by_name(only: str | None, without: str | None, expected: set[str]) -> None:
    assert chosen(["users", "payments", "gateway"], only, without) == expected


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--only", "user"), "There is no part 'user'; there are users, payments, gateway, nats, postgres.\n"),
        (("--without", "nats"), "nats cannot be left out: set NATS_URL to use another server.\n"),
    ],
)
def test_unknown_part_is_one_sentence(options: tuple[str, str], sentence: str) -> None:
    done = CliRunner().invoke(app, ["up", *options])
    assert (done.exit_code, done.stdout, done.stderr) == (1, "", sentence)
