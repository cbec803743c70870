"""A copy of what `mkstore new` reads and changes."""

import shutil
from pathlib import Path

import pytest

from mkstore.new.names import Names
from mkstore.new.service import plan_service
from tests.conftest import ROOT

_FOLDERS = ("apps", "contracts", "tests/contracts/golden")
_NOT_COPIED = shutil.ignore_patterns("__pycache__", "migrations", "*.txt")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a folder with the services, the contracts, and every file that a new part changes."""
    for folder in _FOLDERS:
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=_NOT_COPIED)
    for path in plan_service(ROOT, Names.of("invoices")).changed:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, tmp_path / path)
    return tmp_path


def contents(root: Path) -> dict[Path, bytes]:
    """Return the bytes of every file below a folder."""
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
