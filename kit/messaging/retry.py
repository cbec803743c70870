"""What is tried again after it failed: for how long, and after which pauses."""

import json
import random
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

from pydantic import ValidationError

from contracts.errors import ErrorKind
from kit.errors import NonRetryable, Refusal

_AWAY = frozenset({ErrorKind.UNAVAILABLE, ErrorKind.OUTCOME_UNKNOWN})
_LONGEST_AWAY = 2.0
"""Seconds: what waits for a server goes on soon after that is back, however long it was away. It holds a place among
those that the consumer has given out, so nothing behind it comes in the meantime."""
_REMEMBERED = 10_000
_STEEPEST = 60
"""Maximum doublings of a delay: beyond the range of a float Python raises."""


@dataclass
class _Story:
    failures: int = 0
    absences: int = 0


def is_away(error: Exception) -> bool:
    """Tell whether `error` says that something which the work needs is away; that is not the message's fault."""
    return _kind(error) in _AWAY


def is_permanent(error: Exception) -> bool:
    """Tell whether the same message would fail in the same way however often it is tried."""
    if isinstance(error, NonRetryable | ValidationError | json.JSONDecodeError | UnicodeDecodeError):
        return True
    return _kind(error) not in _AWAY | {ErrorKind.INTERNAL, None}


def _kind(error: Exception) -> ErrorKind | None:
    return error.kind if isinstance(error, Refusal) else None


class RetryPolicy:
    """Decides whether a message that failed is tried again, and when; one object for all messages of a process.

    A failure that would only repeat itself ends it at once, and another one when it was the last of `attempts`. While
    something is away a message is tried for as long as that lasts, and none of it counts. Pauses double from
    `first_pause` to `longest_pause` seconds; of each, a part of up to one half is left out by chance, so that what
    failed together does not come back together. What is counted is this process's own: of several replicas each has
    its attempts.
    """

    def __init__(self, attempts: int = 10, first_pause: float = 0.2, longest_pause: float = 30.0) -> None:
        self.longest_pause = longest_pause
        self._attempts = attempts
        self._first_pause = first_pause
        self._stories: OrderedDict[Hashable, _Story] = OrderedDict()

    def pause_after(self, error: Exception, message: Hashable) -> float | None:
        """Return the seconds until `message`, which failed with `error`, is tried again; None: it is given up."""
        if is_permanent(error):
            return None
        story = self._stories.setdefault(message, _Story())
        self._stories.move_to_end(message)
        if len(self._stories) > _REMEMBERED:  # such as those that another replica has handled in the end
            self._stories.popitem(last=False)
        if is_away(error):
            story.absences += 1
            return self._pause(story.absences, min(self.longest_pause, _LONGEST_AWAY))
        story.absences = 0
        story.failures += 1
        return None if story.failures >= self._attempts else self._pause(story.failures, self.longest_pause)

    def settled(self, message: Hashable) -> None:
        """Forget what is handled, or kept elsewhere."""
        self._stories.pop(message, None)

    def _pause(self, times: int, longest: float) -> float:
        pause = min(self._first_pause * 2.0 ** min(times - 1, _STEEPEST), longest)
        return pause * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
