"""The gate finds each planted break and whom it hits, and calls nothing else a break."""

import json

import pytest

from contract_gate.changes import Change, Severity
from contract_gate.gate import compare
from contract_gate.sources import Documents
from tests.contract_gate.breaks import BREAKS
from tests.contract_gate.documents import system
from tests.contract_gate.harmless import RISKY, SAFE
from tests.contract_gate.mutating import Mutation

ALL = [*BREAKS, *RISKY, *SAFE]


def changed(mutation: Mutation) -> Documents:
    documents = system()
    mutation.mutate(documents)
    return documents


def found(mutation: Mutation) -> dict[str, Change]:
    return {change.id: change for change in compare(system(), changed(mutation))}


@pytest.mark.parametrize("mutation", BREAKS, ids=str)
def test_a_planted_break_is_found_with_whom_it_hits(mutation: Mutation) -> None:
    change = found(mutation)[mutation.id]
    assert (change.severity, change.hits) == (Severity.BREAKING, tuple(sorted(mutation.hits)))


@pytest.mark.parametrize("mutation", RISKY, ids=str)
def test_what_may_hurt_is_risky_and_no_break(mutation: Mutation) -> None:
    changes = found(mutation)
    assert {change.id for change in changes.values() if change.severity is Severity.RISKY} == {mutation.id}
    assert Severity.BREAKING not in {change.severity for change in changes.values()}


@pytest.mark.parametrize("mutation", SAFE, ids=str)
def test_a_safe_change_is_called_safe(mutation: Mutation) -> None:
    changes = found(mutation)
    if mutation.id:
        assert mutation.id in changes
    assert {change.id for change in changes.values() if change.severity is not Severity.SAFE} == set()


def test_there_are_many_and_no_two_are_the_same() -> None:
    assert len(BREAKS) >= 30
    assert len(SAFE) >= 30
    texts = {json.dumps([documents.events, documents.http]) for documents in (system(), *map(changed, ALL))}
    assert len(texts) == len(ALL) + 1
    assert len({mutation.name for mutation in ALL}) == len(ALL)


def test_nothing_changes_between_a_version_and_itself() -> None:
    assert compare(system(), system()) == []
