"""Cancellation of tasks that lose or delay it."""

import asyncio
import gc
from contextlib import suppress

import pytest

from kit.runtime.tasks import cancel_and_wait, run_until_first_done


class Stubborn:
    """Ignores the first `times` cancellations."""

    def __init__(self, times: int) -> None:
        self.left = times
        self.cleaned = False

    async def __call__(self) -> None:
        try:
            while True:
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    if not self.left:
                        raise
                    self.left -= 1
        finally:
            self.cleaned = True


@pytest.mark.parametrize("times", [0, 1, 3])
async def test_cancellation_is_repeated_until_the_task_ends(times: int) -> None:
    work = Stubborn(times)
    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await cancel_and_wait([task])
    assert task.cancelled()
    assert work.cleaned


async def test_finished_task_keeps_its_result() -> None:
    async def fails() -> None:
        raise LookupError

    task = asyncio.create_task(fails())
    await asyncio.wait([task])
    await cancel_and_wait([task])
    await cancel_and_wait([])
    assert isinstance(task.exception(), LookupError)


async def test_first_failure_cancels_the_others_and_is_raised() -> None:
    others = asyncio.Event()

    async def fails() -> None:
        raise LookupError("lost")

    async def runs_on() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            others.set()

    with pytest.raises(LookupError, match="lost"):
        await run_until_first_done(runs_on(), fails())
    assert others.is_set()


async def test_second_cancellation_leaves_no_unretrieved_exception() -> None:
    complaints: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context["message"]))

    async def fails_slowly() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            for _ in range(2):
                with suppress(asyncio.CancelledError):
                    await asyncio.sleep(0.05)
            raise LookupError("its server is gone")

    task = asyncio.create_task(run_until_first_done(fails_slowly(), asyncio.sleep(60)))
    await asyncio.sleep(0.01)
    for _ in range(2):  # the second one interrupts the wait for the cancelled tasks
        task.cancel()
        await asyncio.sleep(0.01)
    await asyncio.wait([task])
    await asyncio.sleep(0.2)
    del task
    gc.collect()
    assert complaints == []
