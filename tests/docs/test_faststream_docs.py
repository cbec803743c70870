"""FastStream's own commands for documentation say the same as the committed documents."""

import subprocess
import sys
from pathlib import Path

import pytest

from mkstore.services import SERVICES
from tests.conftest import ROOT


@pytest.mark.parametrize("service", [spec.name for spec in SERVICES])
def test_faststream_docs_gen_writes_the_committed_document(service: str, tmp_path: Path) -> None:
    """It ends without the newline that the committed file has."""
    app, written = f"apps.{service}.main:app", tmp_path / "asyncapi.json"
    subprocess.run(
        [sys.executable, "-m", "faststream", "docs", "gen", app, "--out", str(written)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    assert written.read_bytes() + b"\n" == (ROOT / f"asyncapi/{service}.json").read_bytes()
