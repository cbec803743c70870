"""The folder of a backup: its files, and the manifest that says whether they are complete and undamaged."""

import hashlib
import json
import os
from collections.abc import AsyncIterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from mkstore.backup.stream_snapshots import CHUNK_BYTES, BackupFailed

MANIFEST = "manifest.json"
FORMAT = 1
"""Version of the format; a change that older code cannot restore has another one."""
_PRIVATE = 0o600


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class StoredFile(_Part):
    """A file of the backup: its name in the folder, its size and its hash."""

    name: str
    bytes: int
    sha256: str


class StreamPart(_Part):
    """The snapshot of a stream; `config` and `state` are what NATS needs to restore it."""

    name: str
    file: StoredFile
    config: dict[str, Any]
    state: dict[str, Any]


class DatabasePart(_Part):
    """The dump of a service's database, in the custom format of pg_dump, and the revision of its schema."""

    service: str
    file: StoredFile
    revision: str


class Manifest(_Part):
    """What a backup contains. It is written last, so a folder without it is an incomplete backup."""

    format: int
    id: str
    mkstore: str
    """Version of mkstore that made it."""
    nats: str
    """Version of nats-server; an older one may not read the snapshots."""
    postgres: int
    """Major version of PostgreSQL."""
    pg_dump: int
    """Major version of pg_dump; an older pg_restore may not read the dumps."""
    began: datetime
    """What was accepted until then is in the backup."""
    finished: datetime
    databases: tuple[DatabasePart, ...]
    streams: tuple[StreamPart, ...]

    @property
    def files(self) -> tuple[StoredFile, ...]:
        """Every file but the manifest."""
        return (*(each.file for each in self.databases), *(each.file for each in self.streams))


def new_folder(folder: Path) -> None:
    """Create the folder of a backup, which only its owner can read. Raises `BackupFailed` if it has files."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if any(folder.iterdir()):
        raise BackupFailed(f"{folder} is not empty: name a new folder for each backup.")


def remove_files(folder: Path) -> None:
    """Remove what a failed backup has written."""
    for path in folder.iterdir():
        path.unlink()


async def write_file(folder: Path, name: str, chunks: AsyncIterable[bytes]) -> StoredFile:
    """Write a file with mode 0600, synced to disk."""
    digest, size = hashlib.sha256(), 0
    with os.fdopen(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE), "wb") as file:
        async for chunk in chunks:
            digest.update(chunk)
            size += len(chunk)
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    return StoredFile(name=name, bytes=size, sha256=digest.hexdigest())


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest, which makes the backup complete."""
    staging = folder / f"{MANIFEST}.new"
    with os.fdopen(os.open(staging, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _PRIVATE), "w") as file:
        file.write(manifest.model_dump_json(indent=2) + "\n")
        file.flush()
        os.fsync(file.fileno())
    staging.replace(folder / MANIFEST)


def verified(folder: Path) -> Manifest:
    """Read the manifest and compare every file with it.

    Raises `BackupFailed` if the backup is incomplete, damaged, or of a format that this code does not know.
    """
    manifest = _read(folder)
    for file in manifest.files:
        try:
            size, sha256 = _measured(folder / file.name)
        except OSError as error:
            raise BackupFailed(f"The backup is damaged: {folder / file.name}: {error.strerror}.") from error
        if (size, sha256) != (file.bytes, file.sha256):
            raise BackupFailed(
                f"The backup is damaged: {folder / file.name} differs from the manifest; use another backup."
            )
    return manifest


def chunks_of(file: Path) -> Iterator[bytes]:
    """Yield the content of a file in pieces of the size that NATS accepts."""
    with file.open("rb") as content:
        while chunk := content.read(CHUNK_BYTES):
            yield chunk


def _read(folder: Path) -> Manifest:
    file = folder / MANIFEST
    try:
        content = json.loads(file.read_bytes())
    except FileNotFoundError:
        raise BackupFailed(f"{folder} is not a complete backup: it has no {MANIFEST}.") from None
    except ValueError:
        raise BackupFailed(f"The backup is damaged: {file} is not JSON; use another backup.") from None
    except OSError as error:
        raise BackupFailed(f"{file} cannot be read: {error.strerror}.") from error
    version = content.get("format") if isinstance(content, dict) else None
    if version != FORMAT:
        raise BackupFailed(
            f"The backup has the format {version}, and this version of mkstore restores {FORMAT}: use the version that "
            "made it."
        )
    try:
        return Manifest.model_validate(content)
    except ValidationError:
        raise BackupFailed(f"The backup is damaged: {file} has other fields; use another backup.") from None


def _measured(file: Path) -> tuple[int, str]:
    digest, size = hashlib.sha256(), 0
    for chunk in chunks_of(file):
        digest.update(chunk)
        size += len(chunk)
    return size, digest.hexdigest()
