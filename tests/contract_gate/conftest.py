"""A project whose documents are compared."""

from pathlib import Path

import pytest

from mkstore import generated
from mkstore.cli import docs
from tests.contract_gate.mutating import Mutation
from tests.contract_gate.projects import Generate, texts


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project; `generates` sets the documents that its code generates."""
    monkeypatch.setattr(generated, "ROOT", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def generates(root: Path, monkeypatch: pytest.MonkeyPatch) -> Generate:
    def generate(*mutations: Mutation) -> None:
        monkeypatch.setattr(docs, "documents", lambda _: texts(*mutations))

    return generate
