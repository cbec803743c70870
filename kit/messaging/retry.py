"""Retries with exponential backoff and jitter: which failed messages are retried, after which delay, and how."""

import json
import random
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from pydantic import ValidationError

from contracts.errors import ErrorKind
from kit.errors import NonRetryable, Refusal

AnyPart = TypeVar("AnyPart")

RETRY_POLICY = "retry_policy"
"""The key in FastStream's context of the process's `RetryPolicy`."""
_OUTAGE = frozenset({ErrorKind.UNAVAILABLE, ErrorKind.OUTCOME_UNKNOWN})
_MAX_UNAVAILABLE_DELAY = 2.0
"""Maximum delay in seconds while a server is unavailable, so that work resumes soon after it is back. A delayed message
counts as unacknowledged, so it also delays the messages behind it."""
_REMEMBERED_MESSAGES = 10_000
_MAX_DOUBLINGS = 60
"""Maximum doublings of a delay: beyond the range of a float Python raises."""


@dataclass
class _Attempts:
    failures: int = 0
    unavailable: int = 0


def is_outage(error: Exception) -> bool:
    """Return whether `error` means that a dependency is unavailable, which is not the message's fault."""
    return _kind(error) in _OUTAGE


def is_permanent(error: Exception) -> bool:
    """Return whether a retry of the same message would fail in the same way."""
    if isinstance(error, NonRetryable | ValidationError | json.JSONDecodeError | UnicodeDecodeError):
        return True
    return _kind(error) not in _OUTAGE | {ErrorKind.INTERNAL, None}


def _kind(error: Exception) -> ErrorKind | None:
    return error.kind if isinstance(error, Refusal) else None


class RetryPolicy:
    """Decides whether and when a failed message is retried; one object for all messages of a process.

    A permanent failure is not retried; any other one at most `attempts` times in all. While a dependency is unavailable
    a message is retried without a limit, and those retries do not count. Delays double from `first_delay` to
    `max_delay` seconds, each shortened at random by up to one half (jitter), so that messages that failed together are
    not retried together. Attempts are counted per process: each replica has its own count.
    """

    def __init__(self, attempts: int = 10, first_delay: float = 0.2, max_delay: float = 30.0) -> None:
        self.max_delay = max_delay
        self._attempts = attempts
        self._first_delay = first_delay
        self._messages: OrderedDict[Hashable, _Attempts] = OrderedDict()

    def delay_after(self, error: Exception, message: Hashable) -> float | None:
        """Return the seconds until the retry of `message`, which failed with `error`; None if it is not retried."""
        if is_permanent(error):
            return None
        counts = self._messages.setdefault(message, _Attempts())
        self._messages.move_to_end(message)
        if len(self._messages) > _REMEMBERED_MESSAGES:  # such as messages that another replica handled in the end
            self._messages.popitem(last=False)
        if is_outage(error):
            counts.unavailable += 1
            return self._delay(counts.unavailable, min(self.max_delay, _MAX_UNAVAILABLE_DELAY))
        counts.unavailable = 0
        counts.failures += 1
        return None if counts.failures >= self._attempts else self._delay(counts.failures, self.max_delay)

    def forget(self, message: Hashable) -> None:
        """Forget the attempts of a message that is handled or dead-lettered."""
        self._messages.pop(message, None)

    def _delay(self, times: int, maximum: float) -> float:
        delay = min(self._first_delay * 2.0 ** min(times - 1, _MAX_DOUBLINGS), maximum)
        return delay * random.uniform(0.5, 1.0)  # noqa: S311 - no secret


@dataclass
class Delivery:
    """One message that is not acknowledged."""

    finished: set[str] = field(default_factory=set)
    """Names of the parts that are handled or dead-lettered."""
    returned: int = 0
    """How often this process has returned it for a retry."""
    in_progress: bool = False

    def is_suspect(self, delivered: int) -> bool:
        """Return whether a process may have died of this message; `delivered` is the number of its deliveries.

        It was delivered before, and this process did not return it. The process that had it has died, has stopped, or
        was too slow.
        """
        return delivered > self.returned + 1


class Deliveries:
    """The unacknowledged messages of one process; the oldest of more than 10,000 is forgotten.

    To forget one is harmless: its parts are handled again, one at a time, and a second run has no effect.
    """

    def __init__(self) -> None:
        self._messages: OrderedDict[Hashable, Delivery] = OrderedDict()

    def of(self, message: Hashable) -> Delivery:
        """Return what is known about a message."""
        delivery = self._messages.setdefault(message, Delivery())
        self._messages.move_to_end(message)
        if len(self._messages) > _REMEMBERED_MESSAGES:
            self._messages.popitem(last=False)
        return delivery

    def forget(self, message: Hashable) -> None:
        """Forget a message that is acknowledged."""
        self._messages.pop(message, None)


def in_attempt_order(parts: Sequence[AnyPart], delivered: int) -> list[AnyPart]:
    """Return the parts of a suspect message in the order of this delivery: forward, backward, shuffled, and so on.

    A part that kills its process ends a delivery. After one forward and one backward delivery all others are handled;
    if there are several such parts, shuffling reaches those between them.
    """
    match delivered % 3:
        case 2:
            return list(parts)
        case 0:
            return list(reversed(parts))
        case _:
            return random.sample(parts, len(parts))
