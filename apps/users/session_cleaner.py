"""Deletes sessions that are over: a row has an address and a device, which are kept no longer than they are needed."""

import asyncio
from collections.abc import Callable

from structlog.stdlib import get_logger

from apps.users.deps import SessionLimits
from apps.users.session_repository import Sessions
from kit.runtime.tasks import cancel_and_wait

log = get_logger(__name__)

CLEAN_INTERVAL = 3600.0


class SessionCleaner:
    """Deletes the sessions that are over every `interval` seconds; a failed run is repeated next time."""

    def __init__(
        self, open_sessions: Callable[[], Sessions], limits: SessionLimits, *, interval: float = CLEAN_INTERVAL
    ) -> None:
        self._open_sessions = open_sessions
        self._limits = limits
        self._interval = interval
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start to clean in the background."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Stop; what is left is deleted after the next start."""
        if self._task is not None:
            await cancel_and_wait([self._task])

    async def clean(self) -> None:
        """Delete the sessions that are over."""
        async with self._open_sessions() as sessions:
            await sessions.delete_over(idle=self._limits.idle, longest=self._limits.longest)

    async def _run(self) -> None:
        while True:
            try:
                await self.clean()
            except Exception as error:  # noqa: BLE001 - such as a lost connection: nothing else would restart this task
                log.warning("sessions not cleaned", reason=str(error) or type(error).__name__)
            await asyncio.sleep(self._interval)
