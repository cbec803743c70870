"""The project's modules as text: what can be said about them without running them."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.conftest import ROOT

PACKAGES = ("apps", "contracts", "kit", "mkstore")


@cache
def modules(*folders: str) -> tuple[Path, ...]:
    """Return the Python files below `folders`, relative to the project's root."""
    found = (path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return tuple(sorted(path.relative_to(ROOT) for path in found))


@cache
def tree(module: Path) -> ast.Module:
    """Return what a module says, parsed."""
    return ast.parse((ROOT / module).read_text())


def imported(module: Path) -> Iterator[str]:
    """Return the names of the modules that a module imports; of `from a import b` both `a` and `a.b`."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module, f"{module} imports by a relative name"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
