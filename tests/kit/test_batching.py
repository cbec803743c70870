"""Batched calls: few, complete, each with its own result, and none waits endlessly."""

import asyncio
from collections.abc import Sequence
from functools import partial

import pytest

from kit.batching import BatchLoader
from tests.support.polling import eventually


class Work:
    """Doubles numbers; remembers what it was asked for at once, and waits to be let go."""

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


async def test_what_is_asked_in_one_turn_travels_together() -> None:
    work = Work()
    gather = BatchLoader(work)
    assert await asyncio.gather(*(gather(n) for n in range(5))) == [0, 2, 4, 6, 8]
    assert work.calls == [[0, 1, 2, 3, 4]]


async def test_a_lone_item_does_not_wait_for_company() -> None:
    work = Work()
    assert await BatchLoader(work)(7) == 14
    assert work.calls == [[7]]


async def test_what_comes_while_all_are_out_goes_with_the_next() -> None:
    work = Work()
    work.go.clear()
    gather = BatchLoader(work, in_flight=1)
    first = asyncio.create_task(gather(1))
    await eventually(lambda: work.calls)
    others = [asyncio.create_task(gather(n)) for n in (2, 3, 4)]
    await asyncio.sleep(0)
    assert work.calls == [[1]]
    work.go.set()
    assert await asyncio.gather(first, *others) == [2, 4, 6, 8]
    assert work.calls == [[1], [2, 3, 4]]


@pytest.mark.parametrize("in_flight", [1, 2, 3])
async def test_a_flood_is_worked_off_in_portions_and_never_an_empty_one(in_flight: int) -> None:
    work = Work()
    work.go.clear()
    gather = BatchLoader(work, in_flight=in_flight, most=10)
    waiting = []
    for n in range(in_flight):  # all are out, and will be back in the same turn
        waiting.append(asyncio.create_task(gather(n)))
        await eventually(partial(lambda n: work.calls[n:], n))
    waiting += [asyncio.create_task(gather(n)) for n in range(in_flight, 45)]
    await asyncio.sleep(0)
    work.go.set()
    async with asyncio.timeout(5):
        assert await asyncio.gather(*waiting) == [2 * n for n in range(45)]
    assert all(1 <= len(call) <= 10 for call in work.calls)


async def test_when_the_work_fails_each_waiter_hears_of_it_and_the_next_call_is_a_new_one() -> None:
    work = Work()
    gather = BatchLoader(work)
    results = await asyncio.gather(gather(1), gather(-1), return_exceptions=True)
    assert [type(result) for result in results] == [LookupError, LookupError]
    assert await gather(1) == 2


async def test_a_caller_that_goes_away_leaves_the_others_their_results() -> None:
    work = Work()
    work.go.clear()
    gather = BatchLoader(work)
    leaving, staying = asyncio.create_task(gather(1)), asyncio.create_task(gather(2))
    await eventually(lambda: work.calls)
    leaving.cancel()
    work.go.set()
    assert await staying == 4
    assert leaving.cancelled()


async def test_work_that_answers_for_too_few_is_an_error_and_no_silence() -> None:
    async def forgetful(_: list[int]) -> Sequence[int]:
        return []

    async with asyncio.timeout(1):
        with pytest.raises(ValueError, match="shorter"):
            await BatchLoader(forgetful)(1)
