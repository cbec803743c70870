"""A plan: the text of each new and each changed file, complete before anything is written."""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mkstore.new.names import NameRefused


class CannotChange(Exception):
    """An existing file is not as expected, so that the plan is impossible; the text names it."""


@dataclass(frozen=True)
class Plan:
    """Texts by the path of their file, relative to the project's root."""

    created: Mapping[str, str]
    changed: Mapping[str, str]

    def lines(self) -> Iterator[str]:
        """Return one line for each file, as `mkstore new` prints it."""
        yield from (f"create {path}" for path in sorted(self.created))
        yield from (f"change {path}" for path in sorted(self.changed))

    def write(self, root: Path) -> None:
        """Write all files below `root`."""
        for path, text in {**self.created, **self.changed}.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text, "utf-8")


class Draft:
    """A plan in the making, for the project below `root`; nothing is written."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._created: dict[str, str] = {}
        self._changed: dict[str, str] = {}

    def read(self, path: str) -> str:
        """Return the text of an existing file, with the changes so far. Raises `CannotChange` if it does not exist."""
        if path in self._changed:
            return self._changed[path]
        try:
            return (self.root / path).read_text("utf-8")
        except FileNotFoundError:
            raise CannotChange(f"{path} does not exist: nothing was changed.") from None

    def change(self, path: str, text: str) -> None:
        """Give an existing file another text."""
        self._changed[path] = text

    def insert(self, path: str, text: str, *, before: str = "", after: str = "") -> None:
        """Insert `text` beside another one. Raises `CannotChange` unless the file contains that one exactly once."""
        content, anchor = self.read(path), before or after
        if (found := content.count(anchor)) != 1:
            raise CannotChange(f"{path} contains {anchor.strip()!r} {found} times, not once: nothing was changed.")
        self.change(path, content.replace(anchor, text + anchor if before else anchor + text))

    def create(self, path: str, text: str) -> None:
        """Add a new file. Raises `NameRefused` if it exists."""
        if (self.root / path).exists():
            raise NameRefused(f"{path} exists already: choose another name.")
        self._created[path] = text

    def plan(self) -> Plan:
        """Return the plan of all files so far."""
        return Plan(self._created, self._changed)

    def version(self) -> str:
        """Return the version of the project."""
        return str(tomllib.loads(self.read("pyproject.toml"))["project"]["version"])
