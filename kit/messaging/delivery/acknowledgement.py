"""Acknowledging durable messages: after handling, after a dead letter, or later after a retry."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from structlog.stdlib import get_logger

from contracts.headers import (
    DEAD_ATTEMPTS,
    DEAD_CONSUMER,
    DEAD_DETAIL,
    DEAD_FIRST_TIME,
    DEAD_LAST_TIME,
    DEAD_REASON,
    DEAD_STREAM,
    MESSAGE_ID,
)
from contracts.streams import DEAD
from kit.messaging.delivery.parts import Part, letter_of
from kit.messaging.nats_compat import jetstream_of
from kit.messaging.retry import RetryPolicy, is_outage
from kit.runtime.failpoints import AFTER_ACK, AFTER_DEAD_LETTER, BEFORE_ACK, BEFORE_DEAD_LETTER, failpoint
from kit.runtime.measurements import Counts, Durations, latest_of_processes

log = get_logger(__name__)
_MESSAGES = Counts(
    "mkstore_consumed_messages_total",
    "Messages and commands of batches that a durable consumer settled: handled, retried or dead.",
    ("consumer", "outcome"),
)
_DURATIONS = Durations(
    "mkstore_consume_duration_seconds", "Time from the arrival of a message until it is settled.", ("consumer",)
)
_REDELIVERED = Counts(
    "mkstore_redelivered_messages_total", "Messages that were delivered more than once.", ("consumer",)
)
_LAST_DEAD = latest_of_processes(
    "mkstore_dead_letter_last_timestamp_seconds",
    "Unix time of the last dead letter since the start, by consumer and the class of its error.",
    ("consumer", "reason"),
)


class Failure(NamedTuple):
    """A part of a message that was not handled, and why."""

    part: Part
    error: Exception


def arrived(message: Msg) -> float:
    """Count a message that was delivered before; return the time of its arrival, for `settled`."""
    if (message.metadata.num_delivered or 1) > 1:
        _REDELIVERED.add((message.metadata.consumer,))
    return time.perf_counter()


def settled(message: Msg, arrival: float) -> None:
    """Measure how long it took to settle a message; `arrival` is from `arrived`."""
    _DURATIONS.observe((message.metadata.consumer,), time.perf_counter() - arrival)


async def acknowledge(message: Msg, parts: int = 1) -> None:
    """Acknowledge a handled message, of which `parts` were left."""
    failpoint(BEFORE_ACK)
    await message.ack()
    failpoint(AFTER_ACK)
    count(message, handled=parts)


def count(message: Msg, *, handled: int = 0, retried: int = 0, dead: int = 0) -> None:
    """Count what became of the parts of a message."""
    for outcome, number in (("handled", handled), ("retried", retried), ("dead", dead)):
        if number:
            _MESSAGES.add((message.metadata.consumer, outcome), number)


async def settle(message: Msg, failures: Sequence[Failure], policy: RetryPolicy) -> list[str]:
    """Dead-letter what `policy` gives up, and return the message for a retry if something is left.

    Return the names of the parts that are left. A part is given up only when it is stored in `DEAD_LETTERS`.
    """
    metadata = message.metadata
    attempt = metadata.num_delivered or 1
    delays: dict[str, float] = {}
    for part, error in failures:
        key = (metadata.consumer, metadata.sequence.stream, part.name)
        delay = policy.delay_after(error, key)
        if delay is not None:
            delays[part.name] = delay
        elif await _dead_letter(message, part, error, attempt):
            policy.forget(key)
        else:
            delays[part.name] = policy.max_delay
    if delays:
        delay = max(delays.values())
        _log_retry(message, failures, attempt, delay)
        await message.nak(delay=delay)
    else:
        await message.ack()
    count(message, retried=len(delays), dead=len(failures) - len(delays))
    return list(delays)


def _log_retry(message: Msg, failures: Sequence[Failure], attempt: int, delay: float) -> None:
    # While a server is unavailable every message is retried repeatedly: one line per message is enough.
    error = failures[0].error
    write = log.debug if is_outage(error) and attempt > 1 else log.warning
    write("message retried", subject=message.subject, attempt=attempt, delay=round(delay, 3), reason=str(error))


async def _dead_letter(message: Msg, part: Part, error: Exception, attempt: int) -> bool:
    """Return whether the part is stored in `DEAD_LETTERS`."""
    metadata, letter = message.metadata, letter_of(part, message)
    log.error("message dead-lettered", subject=letter.subject, attempt=attempt, exc_info=error)
    origin = f"{metadata.stream}.{metadata.sequence.stream}.{metadata.consumer}"
    headers = {
        **letter.headers,
        # Stored once even if its acknowledgement is lost, once per consumer that could not handle it, and once for
        # each command of a batch.
        MESSAGE_ID: f"{origin}.{part.name}" if part.name else origin,
        DEAD_REASON: type(error).__name__,
        DEAD_DETAIL: " ".join(str(error).split())[:500].encode("ascii", "replace").decode(),
        DEAD_ATTEMPTS: str(attempt),
        DEAD_FIRST_TIME: metadata.timestamp.astimezone(UTC).isoformat(),
        DEAD_LAST_TIME: datetime.now(UTC).isoformat(),
        DEAD_STREAM: metadata.stream,
        DEAD_CONSUMER: metadata.consumer,
    }
    try:
        failpoint(BEFORE_DEAD_LETTER)
        await jetstream_of(message).publish(f"{DEAD}{letter.subject}", letter.body, headers=headers)
        failpoint(AFTER_DEAD_LETTER)
    except NatsError as refused:
        log.critical("message not dead-lettered", subject=letter.subject, reason=str(refused))
        return False
    _LAST_DEAD.labels(metadata.consumer, type(error).__name__).set_to_current_time()
    return True
