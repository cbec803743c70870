"""The gate finds each planted break and the operations it affects, and reports no other break."""

import json

import pytest

from contract_gate.changes import Change, Severity
from contract_gate.gate import compare
from contract_gate.sources import Documents
from tests.contract_gate.breaks import BREAKS
from tests.contract_gate.documents import system, unchanged
from tests.contract_gate.harmless import RISKY, SAFE
from tests.contract_gate.mutating import Mutation

ALL = [*BREAKS, *RISKY, *SAFE]


def changed(mutation: Mutation) -> Documents:
    documents = system()
    mutation.mutate(documents)
    return documents


def changes_of(mutation: Mutation) -> dict[str, Change]:
    return {change.id: change for change in compare(unchanged(), changed(mutation))}


@pytest.mark.parametrize("mutation", BREAKS, ids=str)
def test_planted_break_is_found_with_affected_operations(mutation: Mutation) -> None:
    change = changes_of(mutation)[mutation.id]
    assert (change.severity, change.affects) == (Severity.BREAKING, tuple(sorted(mutation.affects)))


@pytest.mark.parametrize("mutation", RISKY, ids=str)
def test_risky_mutation_is_risky_and_not_breaking(mutation: Mutation) -> None:
    changes = changes_of(mutation)
    assert {change.id for change in changes.values() if change.severity is Severity.RISKY} == {mutation.id}
    assert Severity.BREAKING not in {change.severity for change in changes.values()}


@pytest.mark.parametrize("mutation", SAFE, ids=str)
def test_safe_mutation_is_safe(mutation: Mutation) -> None:
    changes = changes_of(mutation)
    if mutation.id:
        assert mutation.id in changes
    assert {change.id for change in changes.values() if change.severity is not Severity.SAFE} == set()


def test_mutations_are_many_and_distinct() -> None:
    assert len(BREAKS) >= 30
    assert len(SAFE) >= 30
    texts = {json.dumps([documents.events, documents.http]) for documents in (unchanged(), *map(changed, ALL))}
    assert len(texts) == len(ALL) + 1
    assert len({mutation.name for mutation in ALL}) == len(ALL)


def test_version_equals_itself() -> None:
    assert compare(system(), system()) == []
