"""The rule table is complete, and its severities are those of the code."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

import contract_gate
from contract_gate.changes import Change, Direction
from contract_gate.gate import compare
from contract_gate.http import compare_http
from contract_gate.rules import RULES, as_markdown, rule_of
from tests.contract_gate import test_events, test_http, test_schema_versions, test_schemas
from tests.contract_gate.breaks import BREAKS
from tests.contract_gate.documents import unchanged
from tests.contract_gate.harmless import RISKY, SAFE
from tests.contract_gate.test_events import changed

FOLDER = Path(contract_gate.__file__).parent
ENDINGS = (
    "added removed renamed changed raised lowered limited unlimited narrowed widened eased closed map open deep with"
)
RULE_ID = re.compile(rf"[A-Za-z-]+-({'|'.join(ENDINGS.split())})")


@cache
def schema_changes() -> list[tuple[Direction, Change]]:
    """Return the changes of every pair of the schema tables, in both directions."""
    pairs = [row[:2] for row in (*test_schemas.RULES, *test_schemas.OTHERS)]
    pairs += [(new, old) for old, new in pairs]
    return [
        (direction, change)
        for old, new in pairs
        for direction in Direction
        for change in test_schemas.compared(old, new, direction).values()
    ]


@cache
def document_changes() -> list[Change]:
    """Return the changes of every pair of the document tables, both ways."""
    changes = []
    for mutate in [one.mutate for one in (*BREAKS, *RISKY, *SAFE)] + [row[0] for row in test_events.RULES]:
        mutated = changed(mutate)
        changes += compare(unchanged(), mutated) + compare(mutated, unchanged())
    for old, new in test_schema_versions.VERSIONS:
        changes += compare(changed(old), changed(new)) + compare(changed(new), changed(old))
    for row in test_http.RULES:
        changes += [*compare_http(row[0], row[1]), *compare_http(row[1], row[0])]
    return changes


def literals() -> set[str]:
    """Return the texts in the code of the gate that have the form of a rule id."""
    texts = {
        node.value.partition(" ")[0]
        for path in FOLDER.glob("*.py")
        if path.name != "rules.py"
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    return {text for text in texts if RULE_ID.fullmatch(text)}


def test_every_rule_id_in_the_code_is_in_the_table() -> None:
    produced = {change.rule for change in (*document_changes(), *(change for _, change in schema_changes()))}
    assert literals() <= {name for rule in RULES for name in rule.ids}
    for name in produced:
        rule_of(name)


def test_every_rule_of_the_table_is_produced() -> None:
    changes = [*document_changes(), *(change for _, change in schema_changes())]
    produced = {name for change in changes for name in rule_of(change.rule).ids[:1]}
    listed = {rule.ids[0] for rule in RULES}
    assert listed - produced == {"too-deep"}  # tested in test_malformed


def test_ids_are_unique() -> None:
    names = [name for rule in RULES for name in rule.ids]
    assert len(names) == len(set(names))


def test_severities_of_schema_rules_match_the_code() -> None:
    for direction, change in schema_changes():
        rule = rule_of(change.rule)
        assert change.severity in (rule.received if direction is Direction.INPUT else rule.sent), change


def test_severities_of_document_rules_match_the_code() -> None:
    for change in document_changes():
        rule = rule_of(change.rule)
        assert change.severity in rule.received + rule.sent, change


def test_readme_contains_the_table() -> None:
    assert as_markdown() in (FOLDER / "README.md").read_text("utf-8")


@pytest.mark.parametrize("name", ["nothing", "field", "minLength"])
def test_unknown_rule_raises(name: str) -> None:
    with pytest.raises(LookupError):
        rule_of(name)
