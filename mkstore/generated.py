"""Generated files: written, and compared with the committed ones."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import apps

ROOT = Path(apps.__file__).resolve().parent.parent
"""The project's root folder."""


class NotDocumented(Exception):
    """A service's documents cannot be built; the reason is the end of the error output of its import."""

    def __init__(self, service: str, reason: str) -> None:
        super().__init__(f"The documents of {service} cannot be built: {reason}")


def differences(root: Path, files: Mapping[str, str], *, patterns: Sequence[str] = ()) -> list[str]:
    """Return a sentence for each path below `root` that differs from `files`.

    A file below `root` that matches one of the glob `patterns` and is not in `files` is superfluous. A pattern that
    begins with an exclamation mark excludes files from the patterns before it.
    """
    changed = []
    for path, text in files.items():
        try:
            same = (root / path).read_bytes() == text.encode()
        except FileNotFoundError:
            changed.append(f"{path} is missing")
        else:
            if not same:
                changed.append(f"{path} is different")
    return changed + [f"{path} is superfluous" for path in _superfluous(root, files, patterns)]


def write(root: Path, files: Mapping[str, str], *, patterns: Sequence[str] = ()) -> None:
    """Write `files` below `root` and remove superfluous ones, see `differences`."""
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(text.encode())
    for path in _superfluous(root, files, patterns):
        (root / path).unlink()


def _superfluous(root: Path, files: Mapping[str, str], patterns: Sequence[str]) -> list[str]:
    matched: set[str] = set()
    for pattern in patterns:
        paths = {path.relative_to(root).as_posix() for path in root.glob(pattern.removeprefix("!")) if path.is_file()}
        matched = matched - paths if pattern.startswith("!") else matched | paths
    return sorted(matched - set(files))
