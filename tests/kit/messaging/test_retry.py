"""Retry policy: which failures are retried, how often, and after which delays."""

import json

import pytest
from asyncpg import CheckViolationError
from pydantic import TypeAdapter, ValidationError

from contracts.errors import ErrorKind, Problem
from kit.database import RefusedByDatabase
from kit.errors import OutcomeUnknown, Refusal, RemoteProblem, Unavailable
from kit.messaging.retry import RetryPolicy, is_outage, is_permanent


def refusal(of: ErrorKind) -> Refusal:
    class Refused(Refusal):
        kind = of
        slug = "refused"

    return Refused("no")


def refused(kind: ErrorKind) -> RemoteProblem:
    return RemoteProblem(Problem(kind=kind, slug="refused", detail="no"))


def validation_error() -> ValidationError:
    with pytest.raises(ValidationError) as raised:
        TypeAdapter(int).validate_python("one")
    return raised.value


PERMANENT = set(ErrorKind) - {ErrorKind.UNAVAILABLE, ErrorKind.OUTCOME_UNKNOWN, ErrorKind.INTERNAL}


@pytest.mark.parametrize(
    "error",
    [
        validation_error(),
        json.JSONDecodeError("no JSON", "{", 0),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no text"),
        RefusedByDatabase(CheckViolationError()),
        *map(refusal, sorted(PERMANENT)),
        *map(refused, sorted(PERMANENT)),
    ],
    ids=repr,
)
def test_permanent_failure_is_not_retried(error: Exception) -> None:
    assert is_permanent(error)
    assert not is_outage(error)
    assert RetryPolicy().delay_after(error, "m") is None


@pytest.mark.parametrize(
    "error", [Unavailable("database"), OutcomeUnknown("database"), refused(ErrorKind.UNAVAILABLE)], ids=repr
)
def test_outage_is_retried_without_limit_and_with_short_delays(error: Exception) -> None:
    policy = RetryPolicy(attempts=2)
    delays = [policy.delay_after(error, "m") for _ in range(2000)]  # about an hour; 2.0 ** 2000 is not a float
    assert all(delay is not None and delay <= 2 for delay in delays)
    assert policy.delay_after(LookupError(), "m") is not None  # none of that was an attempt
    assert policy.delay_after(LookupError(), "m") is None


@pytest.mark.parametrize("error", [LookupError(), refusal(ErrorKind.INTERNAL)], ids=repr)
def test_other_failures_are_retried_up_to_the_limit(error: Exception) -> None:
    policy = RetryPolicy(attempts=4)
    assert [policy.delay_after(error, "m") is None for _ in range(4)] == [False, False, False, True]
    assert [policy.delay_after(error, "other") is None for _ in range(4)] == [False, False, False, True]
    assert RetryPolicy(attempts=1).delay_after(error, "m") is None


def test_delays_double_up_to_the_maximum_and_have_jitter() -> None:
    seen = set()
    for message in range(50):
        policy = RetryPolicy(attempts=2000, first_delay=0.5, max_delay=30)
        delays = [delay for _ in range(1999) if (delay := policy.delay_after(LookupError(), message))]
        assert len(delays) == 1999
        for number, delay in enumerate(delays):
            full = min(0.5 * 2 ** min(number, 10), 30)
            assert full / 2 <= delay <= full
        seen.add(delays[0])
    assert len(seen) > 40


def test_forgotten_message_starts_again() -> None:
    policy = RetryPolicy(attempts=2)
    assert policy.delay_after(LookupError(), "m") is not None
    policy.forget("m")
    policy.forget("unknown")
    assert policy.delay_after(LookupError(), "m") is not None


def test_only_the_10_000_newest_messages_are_remembered() -> None:
    policy = RetryPolicy(attempts=2)
    for number in range(10_001):
        assert policy.delay_after(LookupError(), number) is not None
    assert policy.delay_after(LookupError(), 1) is None  # the oldest that is remembered: this was its second failure
    assert policy.delay_after(LookupError(), 0) is not None  # forgotten: this counts as its first failure
