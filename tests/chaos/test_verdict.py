"""The verdict finds every kind of violation."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from mkstore.chaos.ledger import Attempt, Change, Ledger, User
from mkstore.chaos.verdict import StreamEvent, Verdict, compare_payments, compare_users


class Case:
    """A consistent store: three payments, the last of which is uncertain and not recorded, and one user."""

    def __init__(self) -> None:
        self.ledger = Ledger(
            attempts=[
                Attempt("ada", "key", tag="one", id="p1"),
                Attempt("ada", None, tag="two", id="p2"),
                Attempt("ada", None, tag="three", uncertain=True),
                Attempt("ada", None, tag="four"),
            ],
            users=[
                User(
                    "bob@example.com",
                    id="u1",
                    changes=[
                        Change("created", "0", version=1),
                        Change("updated", "1", uncertain=True),
                        Change("updated", "2"),
                        Change("deleted", version=-1),
                    ],
                ),
                User("eve@example.com", changes=[Change("created", "0", uncertain=True)]),
            ],
        )
        self.rows: list[dict[str, Any]] = [
            {"id": "p1", "tag": "one", "status": "created"},
            {"id": "p2", "tag": "two", "status": "rejected"},
        ]
        self.paid = [
            StreamEvent("payment.created", "e1", "p1", 1, {}),
            StreamEvent("payment.created", "e1", "p1", 1, {}),
            StreamEvent("payment.rejected", "e2", "p2", 1, {}),
        ]
        user = {"email": "bob@example.com", "name": "0"}
        self.changed = [
            StreamEvent("user.created", "e3", "u1", 1, {"user": user}),
            StreamEvent("user.updated", "e4", "u1", 2, {"user": user | {"name": "1"}}),
            StreamEvent("user.updated", "e4", "u1", 2, {"user": user | {"name": "1"}}),
            StreamEvent("user.deleted", "e5", "u1", 3, {"id": "u1"}),
        ]
        self.versions = {"u1": 3}

    def verdict(self) -> dict[str, int]:
        verdict = Verdict()
        compare_payments(self.ledger, self.rows, self.paid, verdict)
        compare_users(self.ledger, self.versions, self.changed, verdict)
        return {name: len(sentences) for name, sentences in verdict.violations.items() if sentences}


def test_consistent_store_has_no_violations() -> None:
    assert Case().verdict() == {}


def test_uncertain_attempt_may_be_recorded() -> None:
    case = Case()
    case.rows.append({"id": "p3", "tag": "three", "status": "created"})
    case.paid.append(StreamEvent("payment.created", "e7", "p3", 1, {}))
    case.changed.append(StreamEvent("user.created", "e8", "u2", 1, {"user": {"email": "eve@example.com", "name": "0"}}))
    case.versions["u2"] = 1
    assert case.verdict() == {}


def _paid(number: int, **changes: Any) -> Callable[[Case], None]:
    def spoil(case: Case) -> None:
        case.paid[number] = replace(case.paid[number], **changes)

    return spoil


def _changed(number: int, **changes: Any) -> Callable[[Case], None]:
    def spoil(case: Case) -> None:
        case.changed[number] = replace(case.changed[number], **changes)

    return spoil


def _row(**columns: Any) -> Callable[[Case], None]:
    return lambda case: case.rows.append(columns)


@pytest.mark.parametrize(
    ("spoil", "violations"),
    [
        pytest.param(lambda case: case.rows.pop(0), {"lost": 1, "phantom": 1}, id="a payment is not recorded"),
        pytest.param(
            lambda case: (case.rows.pop(0), case.paid.pop(0), case.paid.pop(0)),
            {"lost": 1},
            id="a payment without a row and an event",
        ),
        pytest.param(
            lambda case: case.rows[0].update(id="p9"),
            {"lost": 1, "unannounced": 1, "phantom": 1},
            id="a payment has another id than in the response",
        ),
        pytest.param(
            _row(id="p9", tag="one", status="created"),
            {"duplicated": 1, "unannounced": 1},
            id="two payments for one attempt",
        ),
        pytest.param(_row(id="p9", tag="nine", status="created"), {"phantom": 1, "unannounced": 1}, id="not requested"),
        pytest.param(_row(id="p9", tag="four", status="created"), {"phantom": 1, "unannounced": 1}, id="refused"),
        pytest.param(lambda case: case.paid.pop(), {"unannounced": 1}, id="a payment without an event"),
        pytest.param(_paid(2, subject="payment.created"), {"unannounced": 1}, id="an event of another kind"),
        pytest.param(_paid(1, event_id="e9"), {"duplicated": 1}, id="an event with two ids"),
        pytest.param(
            lambda case: case.paid.append(StreamEvent("payment.created", "e9", "p9", 1, {})),
            {"phantom": 1},
            id="an event of an unknown payment",
        ),
        pytest.param(lambda case: case.versions.clear(), {"lost": 1}, id="a user is not recorded"),
        pytest.param(lambda case: case.versions.update(u1=4), {"unannounced": 1}, id="a change without an event"),
        pytest.param(lambda case: case.changed.pop(3), {"lost": 1, "unannounced": 1}, id="a deletion without an event"),
        pytest.param(
            lambda case: case.changed.insert(0, case.changed.pop(3)), {"out of order": 1}, id="the end comes first"
        ),
        pytest.param(_changed(2, event_id="e9"), {"out of order": 1}, id="a version with two ids"),
        pytest.param(
            lambda case: setattr(case.ledger.users[0].changes[0], "version", 2),
            {"out of order": 1},
            id="another version than in the response",
        ),
        pytest.param(
            lambda case: case.changed.__setitem__(
                slice(1, 3), [StreamEvent("user.updated", "e4", "u1", 2, {"user": {"name": "2"}})]
            ),
            {"phantom": 1},
            id="a refused change with an event",
        ),
        pytest.param(
            lambda case: case.changed.append(StreamEvent("user.updated", "e9", "u9", 1, {"user": {"name": "x"}})),
            {"phantom": 1},
            id="an event of an unknown user",
        ),
    ],
)
def test_each_violation_is_found(spoil: Callable[[Case], object], violations: dict[str, int]) -> None:
    case = Case()
    spoil(case)
    assert case.verdict() == violations
