"""Alert rules, runbook and dashboard name metrics that exist, and each other."""

import json
import re
from typing import Any

import pytest
import yaml

from mkstore import dashboard
from tests.conftest import ROOT

FOLDER = ROOT / "deploy/observability"
_METRIC = re.compile(r"\bmkstore_\w+")
_PARTS = ("_bucket", "_count", "_sum")
"""What Prometheus appends to the name of a histogram."""


def _rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((FOLDER / "rules.yml").read_text("utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


RULES = _rules()
NAMES = [rule["alert"] for rule in RULES]


def _metrics(text: str) -> set[str]:
    found = set(_METRIC.findall(text))
    return {next((name.removesuffix(part) for part in _PARTS if name.endswith(part)), name) for name in found}


def _documented() -> set[str]:
    """Return the metrics of the table that a test compares with a running store."""
    return _metrics((ROOT / "docs/operating.md").read_text("utf-8"))


def test_dashboard_is_the_generated_one() -> None:
    assert dashboard.FILE.read_text("utf-8") == dashboard.dashboard(), "run `uv run python -m mkstore.dashboard`"


def test_dashboard_uses_metrics_that_exist() -> None:
    board = json.loads(dashboard.FILE.read_text("utf-8"))
    queries = [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]
    assert len(queries) == sum(len(graphs) for _, graphs in dashboard.ROWS)
    used = [_metrics(query) for query in queries]
    assert all(used)
    assert set().union(*used) <= _documented()


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
def test_alert_uses_metrics_that_exist_and_has_an_entry_in_the_runbook(rule: dict[str, Any]) -> None:
    assert _metrics(rule["expr"]) <= _documented()
    assert _metrics(rule["expr"]) or "up{" in rule["expr"]
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert rule["annotations"]["runbook"] == f"docs/runbook.md#{rule['alert'].lower()}"


def test_runbook_has_the_alerts_in_their_order() -> None:
    assert re.findall(r"^## (\w+)$", (ROOT / "docs/runbook.md").read_text("utf-8"), re.MULTILINE) == NAMES


def test_each_alert_fires_in_a_test_of_promtool() -> None:
    tests = yaml.safe_load((FOLDER / "rules_test.yml").read_text("utf-8"))["tests"]
    samples = [sample for test in tests for check in test["promql_expr_test"] for sample in check["exp_samples"]]
    assert sorted(re.findall(r'alertname="(\w+)"', " ".join(sample["labels"] for sample in samples))) == sorted(NAMES)
