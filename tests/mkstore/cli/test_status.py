"""`mkstore status` and `mkstore logs`, on the files that a running `mkstore up` keeps."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from mkstore.cli.main import app
from tests.support.polling import eventually
from tests.support.running_store import MKSTORE


def mkstore(home: Path, *command: str) -> Result:
    return CliRunner().invoke(app, [*command, "--home", str(home)])


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return a state folder with a server that runs, one that has ended, and an external one."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    record = {
        "users": {"pid": ended.pid, "url": "http://127.0.0.1:1"},
        "payments": {"pid": os.getpid(), "url": "http://127.0.0.1:1", "pids": [1, 2]},
        "nats": {"pid": os.getpid(), "url": "nats://services:secret@127.0.0.1:4222"},
        "postgres": {"pid": None, "url": "postgresql://127.0.0.1:5432/postgres"},
    }
    (tmp_path / "run.json").write_text(json.dumps(record))
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "users.log").write_text("".join(f"line {number}\n" for number in range(1, 31)))
    (logs / "nats.log").write_text("started\nhalf a li")
    return tmp_path


def test_status_tells_the_state_of_each_part(home: Path) -> None:
    done = mkstore(home, "status", "--json")
    assert done.exit_code == 1
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    assert {name: row["state"] for name, row in rows.items()} == {
        "users": "ended", "payments": "not ready", "nats": "ready", "postgres": "external"
    }  # fmt: skip
    assert (rows["payments"]["pid"], rows["nats"]["address"]) == ("1 2", "nats://127.0.0.1:4222")
    assert "secret" not in done.stdout


def test_status_of_a_cluster_has_a_row_for_each_node(tmp_path: Path) -> None:
    nodes = [{"name": f"nats-{n}", "pid": os.getpid() if n < 3 else None, "url": f"nats://x:{n}"} for n in (1, 2, 3)]
    (tmp_path / "run.json").write_text(json.dumps({"nats": {"pid": 1, "url": "nats://x:1,nats://x:2", "nodes": nodes}}))
    rows = json.loads(mkstore(tmp_path, "status", "--json").stdout)
    assert [(row["name"], row["state"], row["address"]) for row in rows] == [
        ("nats-1", "ready", "nats://x:1"), ("nats-2", "ready", "nats://x:2"), ("nats-3", "external", "nats://x:3")
    ]  # fmt: skip


def test_status_of_a_store_on_external_servers_is_good(tmp_path: Path) -> None:
    record = {
        "nats": {"pid": None, "url": "nats://127.0.0.1:4222"},
        "postgres": {"pid": os.getpid(), "url": "postgresql://x/y"},
    }
    (tmp_path / "run.json").write_text(json.dumps(record))
    assert mkstore(tmp_path, "status").exit_code == 0


def test_damaged_run_file_is_one_sentence(home: Path) -> None:
    (home / "run.json").write_text('{"nats":')
    done = mkstore(home, "status")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == (
        f"{home / 'run.json'} is damaged: stop `mkstore up` if it runs, remove the file and start it again.\n"
    )


def test_logs_have_the_last_whole_lines_of_each_part(home: Path) -> None:
    assert mkstore(home, "logs", "-n", "2").stdout == "nats       started\nusers      line 29\nusers      line 30\n"
    assert len(mkstore(home, "logs", "users").stdout.splitlines()) == 20


def test_unknown_part_is_answered_with_the_known_ones(home: Path) -> None:
    done = mkstore(home, "logs", "user")
    assert (done.exit_code, done.stderr) == (1, "There is no log of 'user'; there are nats, users.\n")


def test_logs_of_an_empty_folder_are_one_sentence(tmp_path: Path) -> None:
    done = mkstore(tmp_path, "logs")
    sentence = f"There are no logs in {tmp_path / 'logs'}. Run `mkstore up`, or set --home."
    assert (done.exit_code, done.stderr) == (1, f"{sentence}\n")


async def test_followed_log_goes_on_also_after_it_was_shortened(home: Path, tmp_path: Path) -> None:
    output, log = tmp_path / "output", home / "logs" / "nats.log"
    with output.open("wb") as file:
        following = await asyncio.create_subprocess_exec(
            MKSTORE, "logs", "nats", "-f", "--home", str(home), stdout=file
        )
    try:
        await eventually(lambda: output.read_text() == "nats       started\n")
        with log.open("a") as more:
            more.write("ne\n")
        await eventually(lambda: output.read_text().endswith("nats       half a line\n"))
        log.write_text("anew\n")
        await eventually(lambda: output.read_text().endswith("nats       anew\n"))
    finally:
        following.terminate()
        await following.wait()
