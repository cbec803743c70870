"""The project's modules as text, for checks that do not import them."""

import ast
import io
import tokenize
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
def text(module: Path) -> str:
    """Return the source of a module."""
    return (ROOT / module).read_text(encoding="utf-8")


@cache
def tree(module: Path) -> ast.Module:
    """Return the syntax tree of a module."""
    return ast.parse(text(module))


def has_docstring(module: Path) -> bool:
    """Return whether a module starts with a docstring; reads only its first token."""
    tokens = tokenize.generate_tokens(io.StringIO(text(module)).readline)
    skipped = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE}
    return next(token for token in tokens if token.type not in skipped).type == tokenize.STRING


@cache
def imported(module: Path) -> tuple[str, ...]:
    """Return the names of the modules that `module` imports; for `from a import b` both `a` and `a.b`."""
    names: list[str] = []
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.module, f"{module} imports by a relative name"
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return tuple(names)
