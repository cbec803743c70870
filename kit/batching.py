"""Many small calls as a few large ones: what arrives in one turn of the event loop travels together."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from kit.errors import OutcomeUnknown, Unavailable

Item = TypeVar("Item")
Result = TypeVar("Result")


class BatchLoader(Generic[Item, Result]):
    """Concurrent single calls, gathered: a data loader for reads, a group commit for writes.

    `work` takes the items and returns their results in the same order. At most `in_flight` calls of it are out at
    once; what arrives meanwhile waits for the next, so a burst costs a handful of calls and a lone item no delay.
    Nothing is cached: each result is as fresh as that of a separate call. If `work` raises, each waiter gets the error.
    """

    def __init__(
        self, work: Callable[[list[Item]], Awaitable[Sequence[Result]]], *, in_flight: int = 2, most: int = 500
    ) -> None:
        self._work = work
        self._free = in_flight
        self._most = most
        self._waiting: list[tuple[Item, asyncio.Future[Result]]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def __call__(self, item: Item) -> Result:
        """Have `item` worked on with its neighbours; a caller that goes away does not cancel theirs."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._free and (len(self._waiting) - 1) % self._most == 0:  # the first of a portion
            self._start()
        return await future

    def _start(self) -> None:
        self._free -= 1
        task = asyncio.create_task(self._run())  # begins in the next turn, so that this turn's items are all there
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self) -> None:
        # Without those who went away: where the work hangs they would be all that is left to work for.
        waiting = [each for each in self._waiting if not each[1].done()]
        taken, self._waiting = waiting[: self._most], waiting[self._most :]
        try:
            # Two that end in the same turn both begin the next, and one of those finds nothing left.
            results = await self._work([item for item, _ in taken]) if taken else ()
            answered = list(zip(taken, results, strict=True))
        except BaseException as error:
            for _, future in taken:
                if not future.done():
                    future.set_exception(error if isinstance(error, Exception) else asyncio.CancelledError())
            if not isinstance(error, Exception):
                raise
        else:
            for (_, future), result in answered:
                if not future.done():  # its caller may have gone away
                    future.set_result(result)
        finally:
            self._free += 1
            if self._waiting:
                self._start()


async def bisect_failures(
    work: Callable[[Sequence[Item]], Awaitable[None]], items: Sequence[Item]
) -> list[Exception | None]:
    """Do `work` for all `items` at once, and tell of each what kept it from being done.

    One that cannot be worked on does not take its neighbours along: the group is halved until it stands alone. So
    `work` does all or nothing, and what is done stays done when it is asked for again. Raises `Unavailable` or
    `OutcomeUnknown`, for all of them, when something that the work needs is away.
    """
    try:
        await work(items)
    except (Unavailable, OutcomeUnknown):
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, it is one item's fault and not its neighbours'
        if len(items) == 1:
            return [error]
        half = len(items) // 2
        return [*await bisect_failures(work, items[:half]), *await bisect_failures(work, items[half:])]
    return [None] * len(items)
