"""A project whose documents are compared."""

from pathlib import Path

import pytest

from tests.contract_gate.projects import Project


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, which is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def project(root: Path) -> Project:
    """A project in that folder."""
    return Project(root)
