"""The folder of a backup: what is complete, and what is refused."""

import json
import stat
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mkstore.backup.manifest import (
    FORMAT,
    MANIFEST,
    DatabasePart,
    Manifest,
    StreamPart,
    new_folder,
    verified,
    write_file,
    write_manifest,
)
from mkstore.backup.stream_snapshots import BackupFailed


async def _content(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


@pytest.fixture
async def folder(tmp_path: Path) -> Path:
    """Return the folder of a complete backup."""
    folder = tmp_path / "backup"
    new_folder(folder)
    dump = await write_file(folder, "users.dump", _content(b"first, ", b"second"))
    stream = await write_file(folder, "USER_EVENTS.stream", _content(b"archive"))
    now = datetime.now(UTC)
    manifest = Manifest(
        format=FORMAT,
        id="b1",
        mkstore="0.1.0",
        nats="2.15.1",
        postgres=18,
        pg_dump=18,
        began=now,
        finished=now,
        databases=(DatabasePart(service="users", file=dump, revision="0001"),),
        streams=(StreamPart(name="USER_EVENTS", file=stream, config={"name": "USER_EVENTS"}, state={"last_seq": 0}),),
    )
    write_manifest(folder, manifest)
    return folder


def _refusal(folder: Path) -> str:
    with pytest.raises(BackupFailed) as refused:
        verified(folder)
    return str(refused.value)


def test_complete_backup_is_verified(folder: Path) -> None:
    assert [(file.name, file.bytes) for file in verified(folder).files] == [
        ("users.dump", 13),
        ("USER_EVENTS.stream", 7),
    ]


def test_only_the_owner_can_read_a_backup(folder: Path) -> None:
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in [folder, *folder.iterdir()]}
    assert modes == {"backup": 0o700, "users.dump": 0o600, "USER_EVENTS.stream": 0o600, MANIFEST: 0o600}


@pytest.mark.parametrize("content", [b"first, sec0nd", b"first, secon", b""])
def test_changed_file_is_refused(folder: Path, content: bytes) -> None:
    (folder / "users.dump").write_bytes(content)
    assert _refusal(folder) == (
        f"The backup is damaged: {folder / 'users.dump'} differs from the manifest; use another backup."
    )


def test_missing_file_is_refused(folder: Path) -> None:
    (folder / "USER_EVENTS.stream").unlink()
    missing = folder / "USER_EVENTS.stream"
    assert _refusal(folder) == f"The backup is damaged: {missing}: No such file or directory."


def test_folder_without_a_manifest_is_incomplete(folder: Path) -> None:
    (folder / MANIFEST).unlink()
    assert _refusal(folder) == f"{folder} is not a complete backup: it has no {MANIFEST}."


def test_folder_that_does_not_exist_is_incomplete(tmp_path: Path) -> None:
    assert "is not a complete backup" in _refusal(tmp_path / "missing")


def test_cut_off_manifest_is_refused(folder: Path) -> None:
    (folder / MANIFEST).write_bytes((folder / MANIFEST).read_bytes()[:-20])
    assert _refusal(folder) == f"The backup is damaged: {folder / MANIFEST} is not JSON; use another backup."


@pytest.mark.parametrize("change", [{"id": None}, {"more": 1}])
def test_manifest_with_other_fields_is_refused(folder: Path, change: dict[str, object]) -> None:
    _change(folder, change)
    assert _refusal(folder) == f"The backup is damaged: {folder / MANIFEST} has other fields; use another backup."


@pytest.mark.parametrize("change", [{"format": 2}, {"format": None}])
def test_other_format_is_refused(folder: Path, change: dict[str, object]) -> None:
    _change(folder, change)
    assert _refusal(folder).startswith(f"The backup has the format {change['format']}, and this version of mkstore")


def test_folder_with_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photo").touch()
    with pytest.raises(BackupFailed, match="is not empty: name a new folder for each backup"):
        new_folder(tmp_path)


def _change(folder: Path, change: dict[str, object]) -> None:
    content = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(content | change))
