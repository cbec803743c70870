"""What import-linter cannot say about the modules."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.sources import PACKAGES, imported, modules, tree
from tests.conftest import ROOT

OURS = modules(*PACKAGES)
ROOMS = {"contracts": "contracts", "kit": "kit", "mkstore": "mkstore"} | {
    path.parent.name: f"apps/{path.parent.name}" for path in modules("apps") if path.name == "main.py"
}
"""Which folder below tests belongs to which of the project's."""
WITHOUT_A_ROOM = {"architecture", "chaos", "deploy", "e2e"}
"""Folders below tests that look at the whole."""


def test_import_linter_finds_nothing() -> None:
    lint = [str(Path(sys.executable).with_name("lint-imports")), "--no-logo", "--no-cache"]
    done = subprocess.run(lint, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("module", modules(*PACKAGES, "tests"), ids=str)
def test_a_module_has_at_most_300_lines(module: Path) -> None:
    assert len((ROOT / module).read_text().splitlines()) <= 300


@pytest.mark.parametrize("module", modules(*PACKAGES, "tests"), ids=str)
def test_a_module_says_what_its_one_job_is(module: Path) -> None:
    if (ROOT / module).read_text():  # an empty package file has no job
        assert ast.get_docstring(tree(module))


def test_no_module_is_a_drawer_for_what_has_no_place() -> None:
    drawers = {"base_utils", "common", "core", "helper", "helpers", "misc", "shared", "util", "utils"}
    paths = modules(*PACKAGES, "tests")
    assert not {str(path) for path in paths if drawers & {path.stem, *path.parent.parts}}


@pytest.mark.parametrize("module", modules("contracts"), ids=str)
def test_contracts_import_pydantic_and_the_standard_library_only(module: Path) -> None:
    known = sys.stdlib_module_names | {"contracts", "pydantic", "pydantic_core"}
    assert {name.partition(".")[0] for name in imported(module)} <= known


def test_only_a_composition_root_knows_the_settings() -> None:
    importers = {path for path in modules("apps") for name in imported(path) if name.endswith(".settings")}
    outside = {path for path in importers if path.name not in {"main.py", "settings.py"}}
    assert {path.parts[2:] for path in outside} == {("migrations", "env.py")}  # alembic's own composition root


def test_only_settings_read_the_environment() -> None:
    readers = {"environ", "getenv"}
    found = {
        str(path)
        for path in modules("apps", "contracts", "kit")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Attribute) and node.attr in readers
    }
    assert not found


def test_tests_stand_in_the_room_that_they_test() -> None:
    rooms = {path.parts[1] for path in modules("tests") if len(path.parts) > 2}
    assert rooms == set(ROOMS) | WITHOUT_A_ROOM
    for room in rooms:
        assert list((ROOT / "tests" / room).rglob("test_*.py")), f"tests/{room} tests nothing"
    assert not list((ROOT / "tests").glob("test_*.py"))


@pytest.mark.parametrize("service", sorted(set(ROOMS) - {"contracts", "kit", "mkstore"}))
def test_a_service_says_what_it_is(service: str) -> None:
    said = ast.get_docstring(tree(Path("apps") / service / "__init__.py")) or ""
    for word in ("Owns:", "Answers:", "Reacts to:"):
        assert word in said
    assert (ROOT / "apps" / service / "README.md").read_text()
