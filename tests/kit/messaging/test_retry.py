"""Pauses grow and are bounded; what is given up is what would fail again, or has failed often enough."""

import json

import pytest
from pydantic import TypeAdapter, ValidationError
from sqlalchemy.exc import IntegrityError

from contracts.errors import ErrorKind, Problem
from kit.database import RefusedByDatabase
from kit.errors import OutcomeUnknown, Refusal, RemoteProblem, Unavailable
from kit.messaging.retry import RetryPolicy, is_away, is_permanent


def refusal(of: ErrorKind) -> Refusal:
    class Said(Refusal):
        kind = of
        slug = "said"

    return Said("no")


def refused(kind: ErrorKind) -> RemoteProblem:
    return RemoteProblem(Problem(kind=kind, slug="said", detail="no"))


def not_valid() -> ValidationError:
    with pytest.raises(ValidationError) as raised:
        TypeAdapter(int).validate_python("one")
    return raised.value


PERMANENT = set(ErrorKind) - {ErrorKind.UNAVAILABLE, ErrorKind.OUTCOME_UNKNOWN, ErrorKind.INTERNAL}


@pytest.mark.parametrize(
    "error",
    [
        not_valid(),
        json.JSONDecodeError("no JSON", "{", 0),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no text"),
        RefusedByDatabase(IntegrityError("INSERT", None, Exception())),
        *map(refusal, sorted(PERMANENT)),
        *map(refused, sorted(PERMANENT)),
    ],
    ids=repr,
)
def test_what_would_fail_again_is_given_up_at_once(error: Exception) -> None:
    assert is_permanent(error)
    assert not is_away(error)
    assert RetryPolicy().delay_after(error, "m") is None


@pytest.mark.parametrize(
    "error", [Unavailable("database"), OutcomeUnknown("database"), refused(ErrorKind.UNAVAILABLE)], ids=repr
)
def test_while_something_is_away_nothing_is_given_up_and_no_pause_is_long(error: Exception) -> None:
    retrying = RetryPolicy(attempts=2)
    pauses = [retrying.delay_after(error, "m") for _ in range(2000)]  # about an hour, beyond what a float can double
    assert all(pause is not None and pause <= 2 for pause in pauses)
    assert retrying.delay_after(LookupError(), "m") is not None  # none of that was an attempt
    assert retrying.delay_after(LookupError(), "m") is None


@pytest.mark.parametrize("error", [LookupError(), refusal(ErrorKind.INTERNAL)], ids=repr)
def test_another_failure_is_tried_a_number_of_times(error: Exception) -> None:
    retrying = RetryPolicy(attempts=4)
    assert [retrying.delay_after(error, "m") is None for _ in range(4)] == [False, False, False, True]
    assert [retrying.delay_after(error, "other") is None for _ in range(4)] == [False, False, False, True]
    assert RetryPolicy(attempts=1).delay_after(error, "m") is None


def test_pauses_double_up_to_the_longest_and_differ() -> None:
    seen = set()
    for message in range(50):
        retrying = RetryPolicy(attempts=2000, first_delay=0.5, max_delay=30)
        pauses = [pause for _ in range(1999) if (pause := retrying.delay_after(LookupError(), message))]
        assert len(pauses) == 1999
        for number, pause in enumerate(pauses):
            full = min(0.5 * 2 ** min(number, 10), 30)
            assert full / 2 <= pause <= full
        seen.add(pauses[0])
    assert len(seen) > 40


def test_what_is_settled_begins_anew() -> None:
    retrying = RetryPolicy(attempts=2)
    assert retrying.delay_after(LookupError(), "m") is not None
    retrying.forget("m")
    retrying.forget("never heard of")
    assert retrying.delay_after(LookupError(), "m") is not None


def test_only_the_10_000_newest_messages_are_remembered() -> None:
    retrying = RetryPolicy(attempts=2)
    for number in range(10_001):
        assert retrying.delay_after(LookupError(), number) is not None
    assert retrying.delay_after(LookupError(), 1) is None  # the oldest that is remembered: this was its second failure
    assert retrying.delay_after(LookupError(), 0) is not None  # forgotten: this counts as its first failure
