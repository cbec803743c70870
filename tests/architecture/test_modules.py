"""Rules on modules that import-linter cannot express."""

import ast
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.architecture.sources import PACKAGES, has_docstring, imported, modules, text, tree
from tests.conftest import ROOT

SERVICES = sorted(path.parent.name for path in modules("apps") if path.name == "main.py")
TESTED = {*PACKAGES, *SERVICES} - {"apps"}
"""The packages and services with a folder of the same name below tests."""
WITHOUT_A_PACKAGE = {"architecture", "chaos", "debian", "deploy", "docs", "e2e"}
"""Folders below tests that test the whole system."""


def test_import_linter_reports_nothing() -> None:
    lint = [str(Path(sys.executable).with_name("lint-imports")), "--no-logo", "--no-cache"]
    done = subprocess.run(lint, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_modules_have_at_most_300_lines() -> None:
    long = [str(module) for module in modules(*PACKAGES, "tests") if len(text(module).splitlines()) > 300]
    assert not long


def test_modules_have_a_docstring() -> None:
    """An empty package file needs none."""
    without = [str(module) for module in modules(*PACKAGES, "tests") if text(module) and not has_docstring(module)]
    assert not without


def test_a_folder_has_at_most_20_modules() -> None:
    sizes = Counter(path.parent for path in modules(*PACKAGES) if path.name != "__init__.py")
    assert {str(folder): size for folder, size in sizes.items() if size > 20} == {}


def test_no_module_has_a_catch_all_name() -> None:
    catch_all = {"base_utils", "common", "core", "helper", "helpers", "misc", "shared", "util", "utils"}
    paths = modules(*PACKAGES, "tests")
    assert not {str(path) for path in paths if catch_all & {path.stem, *path.parent.parts}}


def test_contracts_import_only_pydantic_and_the_standard_library() -> None:
    # email_validator is what `EmailStr` of pydantic validates with; its list of reserved domains is public.
    known = sys.stdlib_module_names | {"contracts", "pydantic", "pydantic_core", "email_validator"}
    others = {
        name for module in modules("contracts") for name in imported(module) if name.partition(".")[0] not in known
    }
    assert not others


def test_only_composition_roots_import_settings() -> None:
    importers = {path for path in modules("apps") for name in imported(path) if name.endswith(".settings")}
    outside = {path for path in importers if path.name not in {"main.py", "settings.py"}}
    assert {path.parts[2:] for path in outside} == {("migrations", "env.py")}  # alembic's own composition root


def test_only_settings_read_the_environment() -> None:
    readers = {"environ", "getenv"}
    found = {
        str(path)
        for path in modules("apps", "contracts", "kit")
        if any(name in text(path) for name in readers)
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Attribute) and node.attr in readers
    }
    assert not found


def test_tests_mirror_the_packages() -> None:
    folders = {path.parts[1] for path in modules("tests") if len(path.parts) > 2}
    assert folders == TESTED | WITHOUT_A_PACKAGE | {"support"}
    for folder in folders - {"support"}:
        assert list((ROOT / "tests" / folder).rglob("test_*.py")), f"tests/{folder} has no tests"
    assert not list((ROOT / "tests").glob("test_*.py"))
    assert not list((ROOT / "tests/support").rglob("test_*.py"))


@pytest.mark.parametrize("service", SERVICES)
def test_service_docstring_describes_its_contract(service: str) -> None:
    prose = ast.get_docstring(tree(Path("apps") / service / "__init__.py"))
    assert prose
    description = json.loads((ROOT / f"asyncapi/{service}.json").read_text(encoding="utf-8"))["info"]["description"]
    assert description.startswith(" ".join(prose.split()))
    for role in ("Replies to:", "Publishes:") if service != "gateway" else ("Requests:", "Publishes:"):
        assert role in description
    assert (ROOT / "apps" / service / "README.md").read_text()
