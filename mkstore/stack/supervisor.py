"""Keeps parts running: starts them, starts them again when they die, and stops them in order."""

import asyncio
import functools
import time
from collections.abc import Callable

from mkstore.stack import processes
from mkstore.stack.managed_process import ManagedProcess, PartFailedError

PAUSES = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0)
"""Seconds before the first, second, ... start of a part that keeps dying."""
STEADY = 10.0
"""Seconds after which a part that ran counts as healthy again, and its next death as the first."""

_POLL = 0.05
_IN_A_HURRY = 1.0
_TRIES_AT_FIRST = 2


class Supervisor:
    """Watches over parts; everything is said through `say`, and `changed` is called when a part has a new process.

    A part with a nice value gives way once it is ready, so that one that died comes back soon on a busy machine too.
    `patience` is how many seconds a part may take until it is ready. To be used inside one event loop.
    """

    def __init__(self, say: Callable[[str], None], changed: Callable[[], None], *, patience: float) -> None:
        self._say = say
        self._changed = changed
        self._patience = patience
        self._keepers: dict[ManagedProcess, asyncio.Task[None]] = {}
        self._hurried_at = 0.0

    async def start(self, *parts: ManagedProcess) -> None:
        """Start parts together, return when all of them are ready, and keep them running from then on.

        Raises:
            PartFailedError: one of them did not become ready.

        """
        ready = []
        for part in parts:
            first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            keeper = asyncio.create_task(self._keep(part, first))
            keeper.add_done_callback(functools.partial(_pass_on, first))
            self._keepers[part] = keeper
            ready.append(first)
        await asyncio.gather(*ready)

    async def stop(self, *parts: ManagedProcess) -> None:
        """Stop parts together, wait for each as long as it may take, then kill what is left and say so."""
        for part in parts:
            if keeper := self._keepers.pop(part, None):
                keeper.cancel()
            part.ask_to_stop()
        began = time.monotonic()
        for part in parts:
            while part.is_running and time.monotonic() < self._deadline(began, part):  # noqa: ASYNC110 - likewise
                await asyncio.sleep(_POLL)
            if part.is_running:
                self._say(f"{part.name} did not stop within {time.monotonic() - began:.0f} s and is killed")
            part.kill()

    def hurry(self) -> None:
        """Give every part that is being stopped, or will be, one more second."""
        self._hurried_at = time.monotonic()

    def _deadline(self, began: float, part: ManagedProcess) -> float:
        unhurried = began + part.stop_within
        return min(unhurried, max(began, self._hurried_at) + _IN_A_HURRY) if self._hurried_at else unhurried

    async def _keep(self, part: ManagedProcess, first: asyncio.Future[None]) -> None:
        deaths = 0
        while True:
            try:
                lived = await self._one_life(part, first, again=deaths > 0)
                reason = f"{part.name} {part.ending()}"
            except PartFailedError as error:
                if not first.done() and deaths + 1 >= _TRIES_AT_FIRST:
                    first.set_exception(error)
                    return
                lived, reason = 0.0, str(error)
                if first.done():
                    self._say(f"The end of {part.log}:\n{error.log}")
            deaths = 1 if lived > STEADY else deaths + 1
            pause = PAUSES[min(deaths, len(PAUSES)) - 1]
            self._say(f"{reason}; it is started again" + (f" in {pause:g} s" if pause else ""))
            await asyncio.sleep(pause)

    async def _one_life(self, part: ManagedProcess, first: asyncio.Future[None], *, again: bool) -> float:
        """Start a part, wait until it ends, and return for how many seconds it was ready."""
        await self._bring_up(part)
        ready_at = time.monotonic()
        self._changed()
        if part.address:
            self._say(f"{part.name} is ready{' again' if again else ''}: {part.address}")
        if not first.done():
            first.set_result(None)
        if part.nice:
            await asyncio.to_thread(lambda: processes.give_way(part.leftovers(), part.nice))
        while part.is_running:  # noqa: ASYNC110 - a process sets no event
            await asyncio.sleep(_POLL)
        return time.monotonic() - ready_at

    async def _bring_up(self, part: ManagedProcess) -> None:
        deadline = time.monotonic() + self._patience
        try:
            await asyncio.to_thread(part.prepare)
            part.spawn()
        except OSError as error:
            raise PartFailedError(part.name, f"cannot be started: {error}", "") from error
        while not await asyncio.to_thread(part.is_ready):
            if not part.is_running:
                raise PartFailedError(part.name, part.ending(), processes.tail(part.log))
            if time.monotonic() > deadline:
                part.kill()
                raise PartFailedError(part.name, f"was not ready after {self._patience:g} s", processes.tail(part.log))
            await asyncio.sleep(_POLL)


def _pass_on(first: asyncio.Future[None], keeper: asyncio.Task[None]) -> None:
    # A keeper that failed in itself must not leave its starter waiting for ever.
    if not keeper.cancelled() and (error := keeper.exception()) and not first.done():
        first.set_exception(error)
