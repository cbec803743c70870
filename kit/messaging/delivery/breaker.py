"""Circuit breakers: a consumer pauses while too many of its messages fail, instead of dead-lettering all of them."""

import time
from collections import deque
from collections.abc import Callable

from structlog.stdlib import get_logger

from kit.errors import HealthWarning

log = get_logger(__name__)

BREAKERS = "breakers"
"""The key in FastStream's context of the process's `Breakers`."""
WINDOW = 100
"""Newest outcomes that the share of failures is computed from."""
MINIMUM = 20
"""Outcomes before a breaker may open."""
TRIAL = 5
"""Outcomes after a pause that decide whether there is another one."""
_TRIAL_DELAY = 1.0
_MAX_PAUSES = 8
"""The longest pause, as a multiple of the first."""


class Breaker:
    """The breaker of one consumer in this process: closed, open (paused), or on trial after a pause.

    It opens when `share` of the newest messages fail, for `pause` seconds. On trial one message is handled at a time;
    if as many of them fail, it opens for twice as long, up to eight times the pause, else it closes.
    """

    def __init__(self, consumer: str, share: float, pause: float, *, now: Callable[[], float] = time.monotonic) -> None:
        self._consumer = consumer
        self._share = share
        self._first_pause = self._pause = pause
        self._now = now
        self._outcomes: deque[bool] = deque(maxlen=WINDOW)
        self._open_until = 0.0
        self._on_trial = self._is_trying = False

    @property
    def is_open(self) -> bool:
        """Whether the consumer is paused."""
        return self._now() < self._open_until

    def delay(self) -> float:
        """Return the seconds after which a message should be delivered again; 0 if it is to be handled now."""
        if self.is_open:
            return self._open_until - self._now()
        if self._on_trial:
            if self._is_trying:
                return _TRIAL_DELAY
            self._is_trying = True
        return 0.0

    def record(self, *, succeeded: int, failed: int) -> float:
        """Note the outcomes of one message; return the seconds for which the consumer is paused now, or 0.

        Outages do not count. With zeros the message had no outcome, which ends its trial.
        """
        self._is_trying = False
        if self.is_open:
            return self._open_until - self._now()  # of a message from before the pause: the trial has its own outcomes
        self._outcomes += [True] * succeeded + [False] * failed
        if len(self._outcomes) >= (TRIAL if self._on_trial else MINIMUM):
            if self._outcomes.count(False) >= self._share * len(self._outcomes):
                self._open()
            elif self._on_trial:
                log.info("consumer resumed", consumer=self._consumer)
                self._on_trial, self._pause = False, self._first_pause
        return max(0.0, self._open_until - self._now())

    def _open(self) -> None:
        failures = f"{self._outcomes.count(False)} of {len(self._outcomes)}"
        log.error("consumer paused: its messages fail", consumer=self._consumer, failures=failures, seconds=self._pause)
        self._open_until = self._now() + self._pause
        self._pause = min(2 * self._pause, _MAX_PAUSES * self._first_pause)
        self._on_trial = True
        self._outcomes.clear()


class Breakers:
    """The breakers of all consumers of a process; a `share` above 1 never opens one. `pause` is in seconds."""

    def __init__(self, share: float, pause: float) -> None:
        self._share = share
        self._pause = pause
        self._breakers: dict[str, Breaker] = {}

    def of(self, consumer: str) -> Breaker:
        """Return the breaker of a consumer."""
        if consumer not in self._breakers:
            self._breakers[consumer] = Breaker(consumer, self._share, self._pause)
        return self._breakers[consumer]

    async def check(self) -> None:
        """Raise `HealthWarning` while a consumer is paused."""
        if paused := sorted(name for name, breaker in self._breakers.items() if breaker.is_open):
            raise HealthWarning(
                f"Paused because their messages fail: {', '.join(paused)}. The messages wait; the log has the errors."
            )
