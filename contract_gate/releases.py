"""The documents of releases, which are immutable: `asyncapi/released/<version>/`.

A version that is frozen has a file with the SHA-256 of its documents beside them, in the format of `sha256sum`.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
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


def frozen(root: Path, version: str) -> Path:
    """Return the path of the hashes of a version; the file exists once the version is frozen."""
    return root / FOLDER / f"{version}.sha256"


def freeze(root: Path, version: str, folders: Sequence[str] = ()) -> str:
    """Write the hashes of the documents of a version, and of the files in other folders; return the path.

    From then on the version cannot be recorded again. Raises `ReleasedError` if it is not recorded, or is frozen with
    other files.
    """
    file = frozen(root, version)
    if not (root / FOLDER / version).is_dir():
        raise ReleasedError(f"{version} is not released: run `mkstore docs --release` first.")
    if file.exists() and (changed := differences(root, version)):
        raise ReleasedError(f"{version} is frozen, and these files differ: {', '.join(changed)}; restore them.")
    file.write_text("".join(f"{digest}  {path}\n" for path, digest in _hashes(root, version, folders).items()), "utf-8")
    return file.relative_to(root).as_posix()


def differences(root: Path, version: str) -> list[str]:
    """Return the files of a frozen version that were changed, added or removed; none if it is not frozen."""
    file = frozen(root, version)
    if not file.exists():
        return []
    lines = [line.split("  ", 1) for line in file.read_text("utf-8").splitlines()]
    before = {path: digest for digest, path in lines}
    folders = {path.rpartition("/")[0] for path in before}
    now = _hashes(root, version, sorted(folders - {f"{FOLDER}/{version}"}))
    return sorted(path for path in before.keys() | now.keys() if before.get(path) != now.get(path))


def _hashes(root: Path, version: str, folders: Sequence[str]) -> dict[str, str]:
    files = [path for folder in (f"{FOLDER}/{version}", *folders) for path in sorted((root / folder).glob("*.json"))]
    return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def record(root: Path, version: str, texts: Mapping[str, str]) -> list[str]:
    """Record the documents (text by file name) of a version and return the written paths.

    Raises `ReleasedError`, and writes nothing, if the version is recorded with different documents.
    """
    folder = root / FOLDER / version
    if not folder.is_dir() and frozen(root, version).exists():
        raise ReleasedError(f"{version} is frozen: restore {FOLDER}/{version}, and increase the version instead.")
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
