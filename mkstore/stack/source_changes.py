"""Watches Python files for `mkstore up --reload`."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

INTERVAL = 0.5
"""Seconds between two looks at the files; a look at the 250 files of this project takes 4 ms."""


async def source_changes(folders: Sequence[Path], interval: float = INTERVAL) -> AsyncIterator[None]:
    """Yield whenever a Python file below `folders` was added, changed or removed, once it has settled."""
    known = _state(folders)
    while True:
        await asyncio.sleep(interval)
        if (now := _state(folders)) == known:
            continue
        # An editor, or a change of branch, writes several files: wait until a look finds the same as the one before.
        while (later := await _after(interval, folders)) != now:
            now = later
        known = now
        yield


async def _after(interval: float, folders: Sequence[Path]) -> dict[Path, tuple[int, int]]:
    await asyncio.sleep(interval)
    return _state(folders)


def _state(folders: Sequence[Path]) -> dict[Path, tuple[int, int]]:
    """Return the time of change and the size of each file."""
    found = {}
    for folder in folders:
        for path in folder.rglob("*.py"):
            try:
                stat = path.stat()
            except OSError:  # removed meanwhile
                continue
            found[path] = (stat.st_mtime_ns, stat.st_size)
    return found
