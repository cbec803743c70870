"""BatchLoader: few calls, each caller gets its own result, and none waits forever."""

import asyncio
from collections.abc import Sequence
from functools import partial

import pytest

from kit.batching import BatchLoader
from tests.support.polling import eventually


class Work:
    """Doubles numbers; records the batches, and waits while `go` is not set."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.go = asyncio.Event()
        self.go.set()

    async def __call__(self, items: list[int]) -> Sequence[int]:
        self.calls.append(items)
        await self.go.wait()
        if -1 in items:
            raise LookupError("minus one")
        return [2 * item for item in items]


async def test_calls_of_one_turn_are_one_batch() -> None:
    work = Work()
    load = BatchLoader(work)
    assert await asyncio.gather(*(load(n) for n in range(5))) == [0, 2, 4, 6, 8]
    assert work.calls == [[0, 1, 2, 3, 4]]


async def test_single_item_does_not_wait() -> None:
    work = Work()
    assert await BatchLoader(work)(7) == 14
    assert work.calls == [[7]]


async def test_items_that_arrive_meanwhile_are_the_next_batch() -> None:
    work = Work()
    work.go.clear()
    load = BatchLoader(work, in_flight=1)
    first = asyncio.create_task(load(1))
    await eventually(lambda: work.calls)
    others = [asyncio.create_task(load(n)) for n in (2, 3, 4)]
    await asyncio.sleep(0)
    assert work.calls == [[1]]
    work.go.set()
    assert await asyncio.gather(first, *others) == [2, 4, 6, 8]
    assert work.calls == [[1], [2, 3, 4]]


@pytest.mark.parametrize("in_flight", [1, 2, 3])
async def test_burst_is_split_into_batches_of_limited_size(in_flight: int) -> None:
    work = Work()
    work.go.clear()
    load = BatchLoader(work, in_flight=in_flight, max_batch=10)
    waiting = []
    for n in range(in_flight):  # all are in flight, and end in the same turn
        waiting.append(asyncio.create_task(load(n)))
        await eventually(partial(lambda n: work.calls[n:], n))
    waiting += [asyncio.create_task(load(n)) for n in range(in_flight, 45)]
    await asyncio.sleep(0)
    work.go.set()
    async with asyncio.timeout(30):
        assert await asyncio.gather(*waiting) == [2 * n for n in range(45)]
    assert all(1 <= len(call) <= 10 for call in work.calls)


async def test_failure_reaches_all_callers_of_the_batch_only() -> None:
    work = Work()
    load = BatchLoader(work)
    results = await asyncio.gather(load(1), load(-1), return_exceptions=True)
    assert [type(result) for result in results] == [LookupError, LookupError]
    assert await load(1) == 2


async def test_cancelled_caller_leaves_the_others_their_results() -> None:
    work = Work()
    work.go.clear()
    load = BatchLoader(work)
    cancelled, remaining = asyncio.create_task(load(1)), asyncio.create_task(load(2))
    await eventually(lambda: work.calls)
    cancelled.cancel()
    work.go.set()
    assert await remaining == 4
    assert cancelled.cancelled()


async def test_missing_results_are_an_error() -> None:
    async def incomplete(_: list[int]) -> Sequence[int]:
        return []

    async with asyncio.timeout(30):
        with pytest.raises(ValueError, match="shorter"):
            await BatchLoader(incomplete)(1)


async def test_each_call_has_its_own_time() -> None:
    work = Work()
    work.go.clear()
    load = BatchLoader(work, in_flight=1, max_batch=2)
    calls = [load.within(seconds, n) for n, seconds in enumerate((0.01, 60, 0.02, 60))]  # two running, two waiting
    await eventually(lambda: calls[0].done() and calls[2].done())
    work.go.set()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(result) for result in results] == [TimeoutError, int, TimeoutError, int]
    assert work.calls == [[0, 1], [3]]


async def test_call_in_time_gets_its_result_or_error() -> None:
    load = BatchLoader(Work())
    assert await load.within(60, 1) == 2
    with pytest.raises(LookupError):
        await load.within(60, -1)
    assert await load.within(60, 3) == 6


async def test_time_is_kept_again_after_a_pause() -> None:
    """The timer stops when no call waits."""
    work = Work()
    load = BatchLoader(work)
    for _ in range(2):
        work.go.set()
        assert await load.within(0.01, 1) == 2
        await asyncio.sleep(0.05)
        work.go.clear()
        with pytest.raises(TimeoutError):
            await load.within(0.01, 1)
        work.go.set()
        await asyncio.sleep(0.05)


async def test_cancelled_call_with_a_time_is_cancelled() -> None:
    work = Work()
    work.go.clear()
    load = BatchLoader(work)

    async def call() -> int:
        return await load.within(60, 1)

    task = asyncio.create_task(call())
    await eventually(lambda: work.calls)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    work.go.set()
    assert await load.within(60, 2) == 4
