"""Batching: concurrent single calls become one call (data loader, group commit); a failing batch is bisected."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from math import inf
from typing import Generic, Protocol, TypeAlias, TypeVar

from kit.errors import OutcomeUnknown, Unavailable
from kit.runtime import spans
from kit.runtime.tracing import Trace, trace

Item = TypeVar("Item")
Item_contra = TypeVar("Item_contra", contravariant=True)
Result = TypeVar("Result")

_CHECK_INTERVAL = 0.02
"""Seconds between checks for calls whose time is up."""

_Call: TypeAlias = tuple[Item, asyncio.Future[Result], float]
"""An item, the future of its result, and the time of the event loop at which it fails."""


class Loader(Protocol[Item_contra, Result]):
    """Processes single items; see `BatchLoader`."""

    async def __call__(self, item: Item_contra) -> Result:
        """Process `item`."""

    def within(self, seconds: float, item: Item_contra) -> asyncio.Future[Result]:
        """Process `item` in at most `seconds`; the future fails with `TimeoutError` then."""


class PartitionedLoader(Generic[Item, Result]):
    """Passes each item to the loader of its partition, so that one that hangs does not hold back the others."""

    def __init__(self, loader_of: Callable[[Item], Loader[Item, Result]]) -> None:
        self._loader_of = loader_of

    async def __call__(self, item: Item) -> Result:
        """Process `item` in its partition."""
        return await self._loader_of(item)(item)

    def within(self, seconds: float, item: Item) -> asyncio.Future[Result]:
        """Process `item` in its partition in at most `seconds`; the future fails with `TimeoutError` then."""
        return self._loader_of(item).within(seconds, item)


class BatchLoader(Generic[Item, Result]):
    """Batches concurrent single calls: a data loader for reads, a group commit for writes.

    `work` takes the items and returns their results in the same order. At most `in_flight` calls of it run at once;
    items that arrive meanwhile wait for the next call, so a burst costs a few calls and a single item no delay.
    Nothing is cached. If `work` raises, each caller of that batch gets the error. `before` is awaited before each batch
    is taken, and what arrives meanwhile belongs to it.
    """

    def __init__(
        self,
        work: Callable[[list[Item]], Awaitable[Sequence[Result]]],
        *,
        in_flight: int = 2,
        max_batch: int = 500,
        before: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._work = work
        self._free = in_flight
        self._max_batch = max_batch
        self._before = before
        self._waiting: list[_Call[Item, Result]] = []
        self._running: dict[asyncio.Task[None], list[_Call[Item, Result]]] = {}
        self._checking = False
        self._origins: dict[asyncio.Future[Result], Trace] = {}
        """The requests that the items belong to, while spans are recorded."""

    async def __call__(self, item: Item) -> Result:
        """Process `item` in the next batch and return its result; a cancelled caller does not cancel the batch."""
        return await self._add(asyncio.get_running_loop(), item, inf)

    def within(self, seconds: float, item: Item) -> asyncio.Future[Result]:
        """Do the same for at most `seconds`, and up to 0.02 s more; the future fails with `TimeoutError` then.

        All calls share one timer, which runs only while there are some: `asyncio.timeout` costs 5 to 6 µs per call.
        """
        loop = asyncio.get_running_loop()
        if not self._checking:
            self._checking = True
            loop.call_later(_CHECK_INTERVAL, self._check, loop)
        return self._add(loop, item, loop.time() + seconds)

    def _add(self, loop: asyncio.AbstractEventLoop, item: Item, ends_at: float) -> asyncio.Future[Result]:
        future: asyncio.Future[Result] = loop.create_future()
        self._waiting.append((item, future, ends_at))
        if spans.are_recorded():
            self._origins[future] = trace.get()
            future.add_done_callback(self._origins.pop)
        if self._free and (len(self._waiting) - 1) % self._max_batch == 0:  # the first item of a batch
            self._start()
        return future

    def _check(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for calls in (self._waiting, *self._running.values()):
            for _, future, ends_at in calls:
                if ends_at <= now and not future.done():
                    future.set_exception(TimeoutError())
        self._checking = bool(self._waiting or self._running)
        if self._checking:
            loop.call_later(_CHECK_INTERVAL, self._check, loop)

    async def _work_on(self, batch: Sequence[_Call[Item, Result]]) -> Sequence[Result]:
        items = [item for item, _, _ in batch]
        if not self._origins:
            return await self._work(items)
        with spans.on_behalf_of([self._origins.get(future, Trace()) for _, future, _ in batch]):
            return await self._work(items)

    def _start(self) -> None:
        self._free -= 1
        # It runs in the next turn of the event loop, after all items of this turn are added.
        batch: list[_Call[Item, Result]] = []
        task = asyncio.create_task(self._run(batch))
        self._running[task] = batch
        task.add_done_callback(self._running.pop)

    async def _run(self, batch: list[_Call[Item, Result]]) -> None:
        try:
            if self._before is not None:
                await self._before()
            # Without the items of callers that no longer wait: while `work` hangs they would fill every batch.
            waiting = [each for each in self._waiting if not each[1].done()]
            batch += waiting[: self._max_batch]
            self._waiting = waiting[self._max_batch :]
            # Two calls that end in one turn both start a next one, and one of those finds no item left.
            results = await self._work_on(batch) if batch else ()
            completed = list(zip(batch, results, strict=True))
        except BaseException as error:
            for _, future, _ in batch:
                if not future.done():
                    future.set_exception(error if isinstance(error, Exception) else asyncio.CancelledError())
            if not isinstance(error, Exception):
                raise
        else:
            for (_, future, _), result in completed:
                if not future.done():  # its caller may be cancelled, or its time may be up
                    future.set_result(result)
        finally:
            self._free += 1
            if self._waiting:
                self._start()


async def bisect_failures(
    work: Callable[[Sequence[Item]], Awaitable[None]], items: Sequence[Item]
) -> list[Exception | None]:
    """Call `work` with all `items`; return for each item the error that it failed with, or None.

    A failing batch is halved until the failing item stands alone, so its neighbours are processed. `work` must do all
    of its items or none, and repeating it must be harmless. Raises `Unavailable` or `OutcomeUnknown`, for all items, if
    a dependency is unavailable.
    """
    try:
        await work(items)
    except (Unavailable, OutcomeUnknown):
        raise
    except Exception as error:  # noqa: BLE001 - any other error is the fault of one item
        if len(items) == 1:
            return [error]
        half = len(items) // 2
        return [*await bisect_failures(work, items[:half]), *await bisect_failures(work, items[half:])]
    return [None] * len(items)
