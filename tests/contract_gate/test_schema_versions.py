"""The schema version of an event: an incompatible schema needs another one, whatever is announced."""

from pathlib import Path

import pytest

from contract_gate.changes import Severity
from tests.contract_gate.mutating import TEXT, Mutate, Mutation, become, field, put, removed, together
from tests.contract_gate.projects import Project, announce, write
from tests.contract_gate.test_events import changed, levels

BREAKING, RISKY, SAFE = Severity.BREAKING, Severity.RISKY, Severity.SAFE
HEADER = "payment.created/headers/ce-dataschema"
NOT_RAISED = f"{HEADER}: version-not-raised"


def schema(uri: str) -> Mutate:
    """Give all events a schema."""
    return become("EventHeaders", "ce-dataschema", {"const": uri, **TEXT})


FIRST, SECOND = schema("urn:shop:payment.created:1"), schema("urn:shop:payment.created:2")
REMOVED = removed("PaymentCreated", "amount")
REMOVAL = "payment.created/payload/amount: field-removed"
VERSIONS: list[tuple[Mutate, Mutate]] = [(FIRST, SECOND), (FIRST, together(FIRST, REMOVED))]
"""Two versions of the small system, for the table of rules."""


def of_payments(old: Mutate, new: Mutate) -> dict[str, Severity]:
    """Return the changes of the event `payment.created`."""
    changes = levels(changed(old), changed(new))
    return {change: level for change, level in changes.items() if change.startswith("payment.created")}


@pytest.mark.parametrize(
    ("mutate", "change"),
    [
        (REMOVED, REMOVAL),
        (field("PaymentCreated", "createdAt", format="date"), "payment.created/payload/createdAt: format-changed"),
        (
            put("components", "messages", "PaymentCreated", contentType="application/cbor"),
            "payment.created: content-type-changed",
        ),
        (
            put("components", "messages", "PaymentCreated", payload={"schemaFormat": "avro", "schema": {}}),
            "payment.created/payload: schema-format-changed",
        ),
    ],
)
def test_incompatible_schema_needs_another_version(mutate: Mutate, change: str) -> None:
    assert of_payments(FIRST, together(FIRST, mutate)) == {change: BREAKING, NOT_RAISED: BREAKING}
    assert of_payments(FIRST, together(SECOND, mutate)) == {change: BREAKING, f"{HEADER}: version-changed": RISKY}


@pytest.mark.parametrize(
    "mutate",
    [
        become("PaymentCreated", "note", TEXT),
        field("PaymentCreated", "amount", minimum=10),
        put("channels", "payment.created", address="payment.made"),
        removed("EventHeaders", "ce-type"),
    ],
    ids=["new field", "fewer values", "another subject", "no header"],
)
def test_version_may_stay_if_the_schema_is_compatible(mutate: Mutate) -> None:
    assert NOT_RAISED not in of_payments(FIRST, together(FIRST, mutate))


def test_version_alone_is_risky_and_never_goes_back() -> None:
    assert of_payments(FIRST, SECOND) == {f"{HEADER}: version-changed": RISKY}
    assert of_payments(SECOND, FIRST) == {f"{HEADER}: version-lowered": BREAKING}
    tenth = schema("urn:shop:payment.created:10")
    assert of_payments(SECOND, tenth) == {f"{HEADER}: version-changed": RISKY}
    other = schema("https://example.com/schemas/payment")
    assert of_payments(SECOND, other) == {f"{HEADER}: version-changed": RISKY}


def test_event_without_a_version_is_compared_as_before() -> None:
    nothing = together()
    assert of_payments(nothing, REMOVED) == {REMOVAL: BREAKING}
    assert of_payments(nothing, FIRST) == {f"{HEADER}: field-added": SAFE}
    assert of_payments(FIRST, removed("PaymentCreated", "createdAt"))[f"{HEADER}: field-removed"] is BREAKING


def test_request_has_no_schema_version() -> None:
    headers = become("RequestHeaders", "ce-dataschema", {"const": "urn:shop:1", **TEXT})
    changes = levels(changed(headers), changed(together(headers, removed("CreateUser", "email"))))
    assert not [change for change in changes if "version" in change]


def test_announced_break_of_an_event_is_refused_without_a_new_version(root: Path, project: Project) -> None:
    versioned, removal = (Mutation("", "", (), each) for each in (FIRST, REMOVED))
    write(root / "before", versioned)
    project.generates(versioned, removal)
    code, output = project.docs("--against", "before")
    assert (code, f"- id: '{REMOVAL}'" in output, f"- id: '{NOT_RAISED}'" in output) == (1, True, False)
    announce(root, {"id": REMOVAL, "reason": "On purpose."}, {"id": NOT_RAISED, "reason": "On purpose."})
    code, output = project.docs("--against", "before")
    assert code == 1
    assert output.startswith("Since before: 1 breaking, 1 breaking, announced.\n")
    assert "needs another version in `ce-dataschema`" in output
    assert NOT_RAISED in output.partition("BREAKING, ANNOUNCED")[0]


def test_announced_break_of_an_event_passes_with_a_new_version(root: Path, project: Project) -> None:
    write(root / "before", Mutation("", "", (), FIRST))
    project.generates(Mutation("", "", (), SECOND), Mutation("", "", (), REMOVED))
    assert project.docs("--against", "before")[0] == 1  # the readers of the old version break
    announce(root, {"id": REMOVAL, "reason": "On purpose."})
    code, output = project.docs("--against", "before")
    assert (code, "1 breaking, announced, 2 risky" in output) == (0, True)


def test_announcement_of_a_version_that_is_not_raised_is_stale(root: Path, project: Project) -> None:
    versioned, removal = (Mutation("", "", (), each) for each in (FIRST, REMOVED))
    project.generates(versioned)
    assert project.docs("--release")[0] == 0
    project.generates(versioned, removal)
    announce(root, {"id": REMOVAL, "reason": "On purpose."}, {"id": NOT_RAISED, "reason": "On purpose."})
    code, output = project.docs("--against", "release")
    assert (code, f"announces '{NOT_RAISED}'" in output) == (1, True)
