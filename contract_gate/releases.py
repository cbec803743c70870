"""The documents of releases, which are immutable: `asyncapi/released/<version>/`."""

import re
from collections.abc import Mapping
from pathlib import Path

from contract_gate.references import UnreadableError

FOLDER = "asyncapi/released"
NEWEST = "release"
"""Name of the newest release, where a revision or a file is expected."""


class ReleasedError(Exception):
    """A released version has different documents; the text names them."""


def newest(root: Path) -> Path | None:
    """Return the folder of the highest version; None without one.

    Raises `UnreadableError` if a folder's name is not a version.
    """
    folders = [path for path in (root / FOLDER).glob("*") if path.is_dir()]
    for folder in folders:
        if not re.fullmatch(r"\d+(\.\d+)*", folder.name):
            raise UnreadableError(f"{FOLDER}/{folder.name} is not a version number.")
    return max(folders, key=lambda path: [int(part) for part in path.name.split(".")], default=None)


def record(root: Path, version: str, texts: Mapping[str, str]) -> list[str]:
    """Record the documents (text by file name) of a version and return the written paths.

    Raises `ReleasedError`, and writes nothing, if the version is recorded with different documents.
    """
    folder = root / FOLDER / version
    if folder.is_dir():
        recorded = {path.name: path.read_text("utf-8") for path in folder.iterdir()}
        changed = sorted(name for name in recorded.keys() | texts.keys() if recorded.get(name) != texts.get(name))
        if changed:
            raise ReleasedError(
                f"{FOLDER}/{version} is released and immutable, but {', '.join(changed)} would change; "
                "increase the version instead."
            )
        return []
    folder.mkdir(parents=True)
    for name, text in texts.items():
        (folder / name).write_bytes(text.encode())
    return [f"{FOLDER}/{version}/{name}" for name in texts]
