"""The documents of releases, which never change: `asyncapi/released/<version>/`."""

import re
from collections.abc import Mapping
from pathlib import Path

from contract_gate.references import UnreadableError

FOLDER = "asyncapi/released"
NEWEST = "release"
"""What stands for the newest one where a revision or a file is asked for."""


class ReleasedError(Exception):
    """A version that is released has other documents; the text says which."""


def newest(root: Path) -> Path | None:
    """Return the folder of the highest version, None if there is none; raises `UnreadableError` for another name."""
    folders = [path for path in (root / FOLDER).glob("*") if path.is_dir()]
    for folder in folders:
        if not re.fullmatch(r"\d+(\.\d+)*", folder.name):
            raise UnreadableError(f"{FOLDER}/{folder.name} is not called as a version is.")
    return max(folders, key=lambda path: [int(part) for part in path.name.split(".")], default=None)


def record(root: Path, version: str, texts: Mapping[str, str]) -> list[str]:
    """Keep the documents (text by file name) of a version; return the paths that were written.

    Raises `ReleasedError` where the version has been kept with other documents, and then writes nothing.
    """
    folder = root / FOLDER / version
    if folder.is_dir():
        kept = {path.name: path.read_text("utf-8") for path in folder.iterdir()}
        changed = sorted(name for name in kept.keys() | texts.keys() if kept.get(name) != texts.get(name))
        if changed:
            raise ReleasedError(
                f"{FOLDER}/{version} is released and never changes, and {', '.join(changed)} would; "
                "a new release has a new version (kit/asyncapi.py and pyproject.toml)."
            )
        return []
    folder.mkdir(parents=True)
    for name, text in texts.items():
        (folder / name).write_bytes(text.encode())
    return [f"{FOLDER}/{version}/{name}" for name in texts]
