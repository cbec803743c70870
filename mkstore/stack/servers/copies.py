"""Which of two PostgreSQL servers is the primary, and whether the other one has every commit: on disk, for both.

The process that lets the primary commit alone, and the one that makes the standby the primary, hold the lock while they
decide. So no standby is promoted that lacks commits, unless an operator accepts that.
"""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


class Copies:
    """The record of a primary and its standby in `folder`; `first` is the primary of a new store."""

    def __init__(self, folder: Path, first: str) -> None:
        self.folder = folder
        self._first = first

    @property
    def primary(self) -> str:
        """Name of the server that is, or is to become, the primary."""
        return str(self._read("primary").get("name", self._first))

    @property
    def complete(self) -> bool:
        """Whether the standby has every acknowledged commit."""
        return bool(self._read("copies").get("complete", False))

    @property
    def alone_since(self) -> str:
        """Time since which the primary commits alone; empty if it does not, or never had a standby."""
        return str(self._read("copies").get("alone_since", ""))

    def make_primary(self, name: str) -> None:
        """Record another primary, whose standby has yet to follow it; call it with the lock."""
        self.mark_incomplete()
        self._write("primary", {"name": name})

    def mark_complete(self) -> None:
        """Record that the standby has every commit."""
        self._write("copies", {"complete": True})

    def mark_incomplete(self) -> None:
        """Record that the primary commits alone; before it does, and with the lock."""
        self._write("copies", {"complete": False, "alone_since": datetime.now(UTC).isoformat(timespec="seconds")})

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Exclude other processes and other decisions until the end of the block."""
        self.folder.mkdir(parents=True, exist_ok=True)
        file = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
        finally:
            os.close(file)

    def _read(self, name: str) -> dict[str, Any]:
        try:
            content = json.loads((self.folder / f"{name}.json").read_text())
        except FileNotFoundError:
            return {}
        return dict(content)

    def _write(self, name: str, content: dict[str, Any]) -> None:
        """Replace a file; it is on disk when this returns."""
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / f"{name}.json"
        staging = file.with_suffix(".new")
        with staging.open("w") as output:
            output.write(json.dumps(content) + "\n")
            output.flush()
            os.fsync(output.fileno())
        staging.replace(file)
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
