"""A task ends though its first cancellation is lost."""

import asyncio
import gc
from contextlib import suppress

import pytest

from kit.runtime.tasks import cancel_and_wait, run_until_first_done


class Stubborn:
    """Goes on after so many cancellations."""

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
async def test_a_task_ends_however_often_it_must_be_told(times: int) -> None:
    work = Stubborn(times)
    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await cancel_and_wait([task])
    assert task.cancelled()
    assert work.cleaned


async def test_what_has_ended_already_is_left_alone() -> None:
    async def fails() -> None:
        raise LookupError

    task = asyncio.create_task(fails())
    await asyncio.wait([task])
    await cancel_and_wait([task])
    await cancel_and_wait([])
    assert isinstance(task.exception(), LookupError)


async def test_the_first_part_of_some_work_that_ends_ends_the_others_and_says_why() -> None:
    others = asyncio.Event()

    async def fails() -> None:
        raise LookupError("it is gone")

    async def goes_on() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            others.set()

    with pytest.raises(LookupError, match="it is gone"):
        await run_until_first_done(goes_on(), fails())
    assert others.is_set()


async def test_work_that_is_ended_twice_leaves_nothing_to_complain_of() -> None:
    complaints: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, said: complaints.append(said["message"]))

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
    for _ in range(2):  # the second one does not let it wait until its work has ended
        task.cancel()
        await asyncio.sleep(0.01)
    await asyncio.wait([task])
    await asyncio.sleep(0.2)
    del task
    gc.collect()
    assert complaints == []
