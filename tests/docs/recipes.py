"""Recipes of docs/: fenced code blocks whose HTML comment names the file that they create or change.

`<!-- create PATH -->` writes a new file, `<!-- rewrite PATH -->` another text into an existing one, and
`<!-- append PATH -->` adds the block at the end.
`<!-- insert PATH after LINE -->` and `<!-- insert PATH before LINE -->` add it beside the only line that is LINE,
`<!-- replace PATH LINE -->` replaces that line. LINE is compared without indentation; `...` at its end stands for the
rest of the line. `<!-- define PATH -->` replaces the classes and functions that the block defines.
`<!-- run -->` runs the block in bash.
"""

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tests.conftest import ROOT
from tests.support.dockerfile import UV

_BLOCK = re.compile(
    r"<!-- (?P<mode>create|rewrite|append|insert|replace|define|run)(?: (?P<path>\S+?))?(?: (?P<rest>[^\n]+?))? -->\n+"
    r"(?P<fence>`{3,})\w*\n(?P<code>.*?)^(?P=fence)$",
    re.DOTALL | re.MULTILINE,
)
_CODE = re.compile(r"^(?P<fence>`{3,}).*?^(?P=fence)$", re.DOTALL | re.MULTILINE)
_NOT_COPIED = shutil.ignore_patterns(".*", "__pycache__", "*.pyc")
_FOLDERS = ("apps", "asyncapi", "contract_gate", "contracts", "deploy", "kit", "mkstore", "openapi", "portal", "tests")
_FILES = (
    *("pyproject.toml", "uv.lock", "README.md", "LICENSE", ".env.example"),
    *("Dockerfile", ".dockerignore", "docker-compose.yml", "docker-compose.prod.yml"),
)
_TIMEOUT = 500.0
_INHERITED = re.compile(r"PATH|HOME|LANG|TMPDIR|UV_\w+|SSL_CERT_\w+|\w+_(?:proxy|PROXY)")
"""Names of environment variables for processes in the copy; the services' own variables are not among them."""


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
        if self.mode == "define":
            return _with_definitions(text, self.code)
        if self.mode in {"create", "rewrite", "append"}:
            return (text if self.mode == "append" else "") + self.code
        where, _, line = self.anchor.partition(" ") if self.mode == "insert" else ("replace", "", self.anchor)
        lines = text.splitlines(keepends=True)
        at = self._find(lines, line)
        first = at + 1 if where == "after" else at
        return "".join([*lines[:first], self.code, *lines[at + 1 if where != "before" else at :]])

    def _find(self, lines: Sequence[str], wanted: str) -> int:
        start = wanted.removesuffix("...")
        matches = [
            number
            for number, line in enumerate(lines)
            if (line.strip().startswith(start) if wanted.endswith("...") else line.strip() == wanted)
        ]
        if len(matches) != 1:
            raise ValueError(f"{self.path} has {len(matches)} lines {wanted!r}, not one")
        return matches[0]


def _with_definitions(text: str, code: str) -> str:
    """Return a module in which the classes and functions of `code` replace those of the same names.

    Raises `ValueError` if the module does not have each of them once.
    """
    for new in _definitions(code):
        (old,) = [each for each in _definitions(text) if each.name == new.name]
        lines = text.splitlines(keepends=True)
        text = "".join(
            [*lines[: old.first - 1], *code.splitlines(keepends=True)[new.first - 1 : new.last], *lines[old.last :]]
        )
    return text


class _Definition(NamedTuple):
    """A class or function of a module, and its lines with those of its decorators."""

    name: str
    first: int
    last: int


def _definitions(code: str) -> Iterator[_Definition]:
    for node in ast.parse(code).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = min(each.lineno for each in (node, *node.decorator_list))
            yield _Definition(node.name, first, node.end_lineno or first)


def blocks(page: str, heading: str) -> list[Block]:
    """Return the blocks below one heading of second level of a page in docs/."""
    text = (ROOT / "docs" / page).read_text("utf-8")
    without_code = _CODE.sub(lambda code: re.sub(r"[^\n]", " ", code[0]), text)  # of the same length
    pattern = re.compile(rf"^## {re.escape(heading)}\n(?:.*?)(?=^## |\Z)", re.DOTALL | re.MULTILINE)
    (section,) = [text[slice(*match.span())] for match in pattern.finditer(without_code)]
    return list(blocks_of(section))


def blocks_of(text: str) -> Iterator[Block]:
    """Return the blocks of a text in their order."""
    for match in _BLOCK.finditer(text):
        yield Block(match["mode"], match["path"] or "", match["rest"] or "", match["code"])


class Project:
    """A copy of this project in which recipes are carried out; it uses the packages of the running Python."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for folder in _FOLDERS:
            shutil.copytree(ROOT / folder, root / folder, ignore=_NOT_COPIED)
        for file in _FILES:
            shutil.copy(ROOT / file, root / file)

    def follow(self, recipe: Sequence[Block]) -> None:
        """Apply or run the blocks in the order of the page."""
        assert recipe, "the page has no such recipe"
        for block in recipe:
            if block.mode == "run":
                self.execute("bash", "-euo", "pipefail", "-c", block.code)
            else:
                block.apply(self.root)

    def run(self, *arguments: str) -> str:
        """Run Python with the copy's packages and return its output. Fails the test if it fails."""
        return self.execute(sys.executable, *arguments)

    def execute(self, program: str | Path, *arguments: str) -> str:
        """Run a program in the copy and return its output. Fails the test if it fails."""
        done = subprocess.run(
            [program, *arguments],
            cwd=self.root,
            env=dict(self.environment()),
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
            check=False,
        )
        assert done.returncode == 0, f"{program} {' '.join(arguments)}:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def environment(self) -> Iterator[tuple[str, str]]:
        """Return the environment of a process in the copy: its folders come before the installed ones.

        `uv run` uses the packages of the running Python, too.
        """
        yield from inherited()
        yield "PYTHONPATH", str(self.root)
        yield "UV_PROJECT_ENVIRONMENT", sys.prefix
        yield "UV_NO_SYNC", "1"


def inherited() -> Iterator[tuple[str, str]]:
    """Return the variables that every process may have; `uv` is found even if it is not on the path."""
    yield from ((name, value) for name, value in os.environ.items() if _INHERITED.fullmatch(name))
    yield "PATH", os.pathsep.join([os.environ["PATH"], str(Path(UV).parent)])
