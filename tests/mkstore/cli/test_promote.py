"""`mkstore promote`: refuses what would lose commits, and what would leave two primaries."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from mkstore.cli.main import app
from mkstore.stack import ports
from mkstore.stack.servers import PostgresServer
from mkstore.stack.servers.copies import Copies


def promote(home: Path, *options: str) -> Result:
    return CliRunner().invoke(app, ["promote", "--home", str(home), *options])


@pytest.fixture
def copies(tmp_path: Path) -> Copies:
    return Copies(tmp_path / "copies", "postgres-1")


@pytest.fixture
def home(tmp_path: Path, copies: Copies) -> Path:
    """Return the state folder of a cluster whose servers do not run."""
    addresses = [f"postgresql://{ports.LOOPBACK}:{ports.free_port()}" for _ in range(2)]
    nodes = [{"name": f"postgres-{n}", "pid": 1, "url": url} for n, url in enumerate(addresses, 1)]
    login = addresses[0].replace("//", "//mkstore:secret@")
    record = {"postgres": {"pid": 1, "url": f"{login}/postgres", "nodes": nodes, "copies": str(copies.folder)}}
    (tmp_path / "run.json").write_text(json.dumps(record))
    return tmp_path


def test_standby_that_lacks_commits_is_refused(home: Path, copies: Copies) -> None:
    with copies.lock():
        copies.mark_incomplete()
    done = promote(home)
    assert done.exit_code == 1
    assert f"postgres-2 lacks what postgres-1 has committed alone since {copies.alone_since}" in done.output
    assert copies.primary == "postgres-1"


def test_standby_that_never_had_a_copy_is_refused(home: Path) -> None:
    assert "postgres-2 lacks what postgres-1 has committed alone. Let it catch up" in promote(home).output


@pytest.mark.parametrize("option", [(), ("--lose-commits",)])
def test_standby_that_does_not_answer_is_refused(home: Path, copies: Copies, option: tuple[str, ...]) -> None:
    if not option:
        copies.mark_complete()
    done = promote(home, *option)
    assert done.exit_code == 1
    assert "postgres-2 cannot become the primary: it does not answer" in done.output
    assert copies.primary == "postgres-1"


def test_server_that_is_no_standby_is_refused(home: Path, copies: Copies, postgres: PostgresServer) -> None:
    copies.mark_complete()
    record = json.loads((home / "run.json").read_text())
    record["postgres"]["url"] = postgres.url
    record["postgres"]["nodes"][1]["url"] = postgres.address
    (home / "run.json").write_text(json.dumps(record))
    done = promote(home)
    assert "postgres-2 cannot become the primary: it is not a standby" in done.output
    assert copies.primary == "postgres-1"


def test_store_without_a_standby_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"postgres": {"pid": 1, "url": "postgresql://x/postgres"}}))
    done = promote(tmp_path)
    assert done.exit_code == 1
    assert "has no standby: it was started without --cluster" in done.output
