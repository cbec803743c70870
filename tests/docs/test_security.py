"""Every test that docs/security.md names exists."""

import ast
import re

import pytest

from tests.conftest import ROOT

PAGE = (ROOT / "docs/security.md").read_text("utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)))


@pytest.mark.parametrize("path", sorted({path for path, _ in NAMED}))
def test_named_tests_exist(path: str) -> None:
    module = ast.parse((ROOT / path).read_text("utf-8"))
    defined = {node.name for node in ast.walk(module) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert {name for other, name in NAMED if other == path} <= defined


def test_every_item_has_a_test_or_a_reason() -> None:
    rows = [line.strip("| ").split(" | ") for line in PAGE.splitlines() if re.match(r"\| \d+\.\d", line)]
    assert len(rows) > 40
    for item, level, requirement, state, reason in rows:
        assert state in {"met", "in part", "not met", "operator"}, item
        assert level in {"1", "2", "3"}, item
        assert requirement, item
        assert reason, item
        assert state != "met" or "`" in reason or "adr/" in reason or "section" in reason, item
    assert PAGE.count("tests/") == sum(PAGE.count(f"`{path}::{name}`") for path, name in NAMED)
