"""Supervises processes: starts them, restarts them when they end, and stops them in order."""

import asyncio
import functools
import time
from collections.abc import Callable, Sequence

from mkstore.stack import processes
from mkstore.stack.managed_process import ManagedProcess, ProcessFailed

RESTART_DELAYS = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0)
"""Seconds before the first, second, ... restart of a process that keeps ending."""
STABLE_TIME = 10.0
"""Seconds after which a ready process is stable: when it ends later, that counts as the first time."""

_POLL_INTERVAL = 0.05
_STUCK_INTERVAL = 2.0
"""Seconds between two looks at whether a running process can still work."""
_HURRIED_STOP_TIMEOUT = 1.0
_FIRST_START_ATTEMPTS = 2


class Supervisor:
    """Keeps processes running inside one event loop.

    `say` prints a line about each start, end and restart; `changed` is called when a process has a new pid. A process
    must be ready within `ready_timeout` seconds. One with a `niceness` gets it once it is ready, so that a restarted
    process starts quickly on a busy machine too.
    """

    def __init__(
        self,
        say: Callable[[str], None],
        changed: Callable[[], None],
        *,
        ready_timeout: float,
        restart_delays: Sequence[float] = RESTART_DELAYS,
    ) -> None:
        self._say = say
        self._changed = changed
        self._ready_timeout = ready_timeout
        self._restart_delays = tuple(restart_delays)
        self._keepers: dict[ManagedProcess, asyncio.Task[None]] = {}
        self._hurried_at = 0.0

    async def start(self, *managed: ManagedProcess) -> None:
        """Start processes in parallel, return when all are ready, and keep them running from then on.

        Raises `ProcessFailed` if one of them does not become ready.
        """
        ready = []
        for process in managed:
            first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            keeper = asyncio.create_task(self._keep(process, first))
            keeper.add_done_callback(functools.partial(_propagate_error, first))
            self._keepers[process] = keeper
            ready.append(first)
        await asyncio.gather(*ready)

    async def stop(self, *managed: ManagedProcess) -> None:
        """Stop processes in parallel; after the `stop_timeout` of each, kill it and print that."""
        for process in managed:
            if keeper := self._keepers.pop(process, None):
                keeper.cancel()
            process.request_stop()
        began = time.monotonic()
        for process in managed:
            while process.is_running and time.monotonic() < self._deadline(began, process):  # noqa: ASYNC110 - a process sets no event
                await asyncio.sleep(_POLL_INTERVAL)
            if process.is_running:
                self._say(f"{process.name} did not stop within {time.monotonic() - began:.0f} s and is killed")
            process.kill()

    def hurry(self) -> None:
        """Shorten the stop of every process, now and later, to one second."""
        self._hurried_at = time.monotonic()

    def _deadline(self, began: float, process: ManagedProcess) -> float:
        deadline = began + process.stop_timeout
        return min(deadline, max(began, self._hurried_at) + _HURRIED_STOP_TIMEOUT) if self._hurried_at else deadline

    async def _keep(self, process: ManagedProcess, first: asyncio.Future[None]) -> None:
        ends = 0
        while True:
            try:
                uptime = await self._run_once(process, first, again=ends > 0)
                reason = f"{process.name} {process.ending()}"
            except ProcessFailed as error:
                if not first.done() and ends + 1 >= _FIRST_START_ATTEMPTS:
                    first.set_exception(error)
                    return
                uptime, reason = 0.0, str(error)
                if first.done() and error.log:
                    self._say(f"The end of {process.log}:\n{error.log}")
            except Exception as error:
                if not first.done():
                    raise
                uptime, reason = 0.0, f"{process.name} cannot be started: {error!r}"
            ends = 1 if uptime > STABLE_TIME else ends + 1
            delay = self._restart_delays[min(ends, len(self._restart_delays)) - 1]
            self._say(f"{reason}; it is restarted" + (f" in {delay:g} s" if delay else ""))
            await asyncio.sleep(delay)

    async def _run_once(self, process: ManagedProcess, first: asyncio.Future[None], *, again: bool) -> float:
        """Start a process, wait until it ends, and return the seconds for which it was ready."""
        await self._bring_up(process)
        ready_at = time.monotonic()
        self._changed()
        if process.address:
            self._say(f"{process.name} is ready{' again' if again else ''}: {process.address}")
        if not first.done():
            first.set_result(None)
        if process.niceness:
            await asyncio.to_thread(lambda: processes.lower_priority(process.leftovers(), process.niceness))
        looked_at = ready_at
        while process.is_running:
            await asyncio.sleep(_POLL_INTERVAL)
            if time.monotonic() - looked_at > _STUCK_INTERVAL:
                if await asyncio.to_thread(process.is_stuck):
                    self._say(f"{process.name} does not work any more and is killed")
                    process.kill()
                looked_at = time.monotonic()
        return time.monotonic() - ready_at

    async def _bring_up(self, process: ManagedProcess) -> None:
        deadline = time.monotonic() + self._ready_timeout
        try:
            await asyncio.to_thread(process.prepare)
            process.spawn()
        except OSError as error:
            raise ProcessFailed(process.name, f"cannot be started: {error}", "") from error
        while not await asyncio.to_thread(process.is_ready):
            if not process.is_running:
                raise ProcessFailed(process.name, process.ending(), processes.tail(process.log))
            if time.monotonic() > deadline:
                process.kill()
                reason = f"was not ready after {self._ready_timeout:g} s"
                raise ProcessFailed(process.name, reason, processes.tail(process.log))
            await asyncio.sleep(_POLL_INTERVAL)


def _propagate_error(first: asyncio.Future[None], keeper: asyncio.Task[None]) -> None:
    # Without this, `start` would wait forever for a keeper that has failed with an unexpected error.
    if not keeper.cancelled() and (error := keeper.exception()) and not first.done():
        first.set_exception(error)
