"""The project's modules as text, for checks that do not import them."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.conftest import ROOT

PACKAGES = ("apps", "contract_gate", "contracts", "kit", "mkstore", "portal")


@cache
def modules(*folders: str) -> tuple[Path, ...]:
    """Return the Python files below `folders`, relative to the project's root."""
    found = (path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return tuple(sorted(path.relative_to(ROOT) for path in found))


@cache
def tree(module: Path) -> ast.Module:
    """Return the syntax tree of a module."""
    return ast.parse((ROOT / module).read_text())


def imported(module: Path) -> Iterator[str]:
    """Yield the names of the modules that `module` imports; for `from a import b` both `a` and `a.b`."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module, f"{module} imports by a relative name"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
