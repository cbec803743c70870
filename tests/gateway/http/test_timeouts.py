"""Timeouts that share one timer."""

import asyncio

import pytest

from apps.gateway.http.timeouts import at_most
from tests.support.polling import eventually


async def after(seconds: float, result: int = 7) -> int:
    await asyncio.sleep(seconds)
    return result


async def test_result_and_error_are_passed_on() -> None:
    async def fail() -> None:
        raise ValueError("x")

    assert await at_most(60, after(0)) == 7
    with pytest.raises(ValueError, match="x"):
        await at_most(60, fail())


async def test_work_that_takes_longer_is_cancelled() -> None:
    work = asyncio.ensure_future(asyncio.Event().wait())
    with pytest.raises(TimeoutError):
        await at_most(0.01, work)
    assert work.cancelled()
    assert await at_most(60, after(0)) == 7  # the task is not cancelled


async def test_each_wait_has_its_own_time() -> None:
    hanging = asyncio.Event()
    tasks = [asyncio.create_task(at_most(seconds, hanging.wait())) for seconds in (0.01, 60, 0.02, 60)]
    await eventually(lambda: tasks[0].done() and tasks[2].done())
    hanging.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [TimeoutError, bool, TimeoutError, bool]


async def test_cancellation_from_outside_is_passed_on() -> None:
    task = asyncio.create_task(at_most(60, asyncio.Event().wait()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()


async def test_cancellation_wins_over_a_simultaneous_timeout() -> None:
    """As with `asyncio.timeout`: the task was asked to end."""

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            task.cancel()

    task = asyncio.create_task(at_most(0.01, work()))
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_work_that_ignores_its_cancellation_returns() -> None:
    async def stubborn() -> int:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return 7
        return 0

    assert await at_most(0.01, stubborn()) == 7
    await asyncio.sleep(0)
    current = asyncio.current_task()
    assert current
    assert current.cancelling() == 0


async def test_inner_timeout_does_not_end_the_outer_one() -> None:
    async def inner() -> str:
        with pytest.raises(TimeoutError):
            await at_most(0.01, asyncio.Event().wait())
        return "went on"

    assert await at_most(60, inner()) == "went on"


async def test_outer_timeout_ends_the_inner_one() -> None:
    with pytest.raises(TimeoutError):
        await at_most(0.01, at_most(60, asyncio.Event().wait()))
    current = asyncio.current_task()
    assert current
    assert current.cancelling() == 0


def test_each_event_loop_has_its_timer() -> None:
    for _ in range(2):
        with pytest.raises(TimeoutError):
            asyncio.run(at_most(0.01, asyncio.Event().wait()))
