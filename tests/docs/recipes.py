"""Recipes of docs/: fenced code blocks whose HTML comment names the file that they create or change.

`<!-- create PATH -->` writes a new file, `<!-- append PATH -->` adds the block at the end.
`<!-- insert PATH after LINE -->` and `<!-- insert PATH before LINE -->` add it beside the only line that is LINE,
`<!-- replace PATH LINE -->` replaces that line. LINE is compared without indentation; `...` at its end stands for the
rest of the line.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import ROOT

_BLOCK = re.compile(
    r"<!-- (?P<mode>create|append|insert|replace) (?P<path>\S+)(?: (?P<rest>[^\n]+?))? -->\n+"
    r"```\w*\n(?P<code>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)
_NOT_COPIED = shutil.ignore_patterns(".*", "__pycache__", "*.pyc")
_COPIED = ("apps", "asyncapi", "contract_gate", "contracts", "deploy", "kit", "mkstore", "openapi", "portal", "tests")
_TIMEOUT = 120.0


@dataclass(frozen=True)
class Block:
    """One code block and what to do with it."""

    mode: str
    path: str
    anchor: str
    code: str

    def apply(self, root: Path) -> None:
        """Change the file below `root`. Raises `ValueError` if it, or the line to find in it, is not as expected."""
        file = root / self.path
        if (self.mode == "create") == file.exists():
            raise ValueError(f"{self.path} {'exists already' if file.exists() else 'does not exist'}")
        file.parent.mkdir(parents=True, exist_ok=True)
        text = "" if self.mode == "create" else file.read_text("utf-8")
        file.write_text(self._changed(text), "utf-8")

    def _changed(self, text: str) -> str:
        if self.mode in {"create", "append"}:
            return text + self.code
        where, _, line = self.anchor.partition(" ") if self.mode == "insert" else ("replace", "", self.anchor)
        lines = text.splitlines(keepends=True)
        at = self._find(lines, line)
        first = at + 1 if where == "after" else at
        return "".join([*lines[:first], self.code, *lines[at + 1 if where != "before" else at :]])

    def _find(self, lines: Sequence[str], wanted: str) -> int:
        start = wanted.removesuffix("...")
        found = [
            number
            for number, line in enumerate(lines)
            if (line.strip().startswith(start) if wanted.endswith("...") else line.strip() == wanted)
        ]
        if len(found) != 1:
            raise ValueError(f"{self.path} has {len(found)} lines {wanted!r}, not one")
        return found[0]


def blocks(page: str, heading: str) -> list[Block]:
    """Return the blocks below one heading of second level of a page in docs/."""
    text = (ROOT / "docs" / page).read_text("utf-8")
    (section,) = re.findall(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    return [
        Block(match["mode"], match["path"], match["rest"] or "", match["code"]) for match in _BLOCK.finditer(section)
    ]


class Project:
    """A copy of this project in which recipes are carried out; it uses the packages of the running Python."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for folder in _COPIED:
            shutil.copytree(ROOT / folder, root / folder, ignore=_NOT_COPIED)
        for file in ("pyproject.toml", ".env.example"):
            shutil.copy(ROOT / file, root / file)

    def follow(self, recipe: Sequence[Block]) -> None:
        """Apply the blocks in the order of the page."""
        assert recipe, "the page has no such recipe"
        for block in recipe:
            block.apply(self.root)

    def run(self, *arguments: str) -> str:
        """Run a Python module or script with the copy's packages and return its output. Fails the test if it fails."""
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.root,
            env=dict(self.environment()),
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
            check=False,
        )
        assert done.returncode == 0, f"{' '.join(arguments)}:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def environment(self) -> Iterator[tuple[str, str]]:
        """Return the environment of a process in the copy: its folders come before the installed ones."""
        yield from ((name, os.environ[name]) for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ)
        yield "PYTHONPATH", str(self.root)
