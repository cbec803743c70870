"""Files that are generated, committed and compared."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import apps

ROOT = Path(apps.__file__).resolve().parent.parent
"""Where the project's folders are."""


def differences(root: Path, files: Mapping[str, str], *, kept_clean: Sequence[str] = ()) -> list[str]:
    """Return a sentence for each path below `root` that is not as `files` says.

    `kept_clean` are patterns of files; those that fit one and are not in `files` are superfluous, unless they fit one
    that begins with an exclamation mark.
    """
    found = []
    for path, text in files.items():
        try:
            same = (root / path).read_bytes() == text.encode()
        except FileNotFoundError:
            found.append(f"{path} is missing")
        else:
            if not same:
                found.append(f"{path} is different")
    return found + [f"{path} is superfluous" for path in _superfluous(root, files, kept_clean)]


def write(root: Path, files: Mapping[str, str], *, kept_clean: Sequence[str] = ()) -> None:
    """Make every path below `root` as `files` says; remove what is superfluous, see `differences`."""
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(text.encode())
    for path in _superfluous(root, files, kept_clean):
        (root / path).unlink()


def _superfluous(root: Path, files: Mapping[str, str], patterns: Sequence[str]) -> list[str]:
    found: set[str] = set()
    for pattern in patterns:
        paths = {path.relative_to(root).as_posix() for path in root.glob(pattern.removeprefix("!")) if path.is_file()}
        found = found - paths if pattern.startswith("!") else found | paths
    return sorted(found - set(files))
