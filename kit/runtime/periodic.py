"""Background work of a process that is repeated with an interval."""

import asyncio
from collections.abc import Awaitable, Callable

from structlog.stdlib import BoundLogger

from kit.runtime.tasks import cancel_and_wait


class Periodic:
    """Repeats `work` until it is stopped: each run begins `interval` seconds after the end of the last one.

    A failed run is logged as the event `failure` and followed by the next one. An error in `expected`, such as that of
    a lost connection, is logged as a warning with its reason, any other one with its traceback. The first run begins at
    once, or after an interval.
    """

    def __init__(
        self,
        work: Callable[[], Awaitable[object]],
        interval: float,
        *,
        log: BoundLogger,
        failure: str,
        expected: type[Exception] | tuple[type[Exception], ...] = Exception,
        at_once: bool = True,
    ) -> None:
        self._work = work
        self._interval = interval
        self._log = log
        self._failure = failure
        self._expected = expected
        self._at_once = at_once
        self._task: asyncio.Task[None] | None = None

    @property
    def is_running(self) -> bool:
        """Whether it was started and not stopped."""
        return self._task is not None and not self._task.done()

    async def start(self) -> None:
        """Start to work in the background."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Cancel the run that is going on, and wait for its end."""
        if self._task is not None:
            await cancel_and_wait([self._task])

    async def _run(self) -> None:
        if not self._at_once:
            await asyncio.sleep(self._interval)
        while True:
            try:
                await self._work()
            except self._expected as error:
                self._log.warning(self._failure, reason=str(error) or type(error).__name__)
            # Such as uvloop's RuntimeError for a connection that was just lost: nothing else restarts this task.
            except Exception:  # noqa: BLE001 - it is logged with its traceback
                self._log.exception(self._failure)
            await asyncio.sleep(self._interval)
