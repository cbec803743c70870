"""Work that is repeated in the background until it is stopped."""

import asyncio
from collections.abc import Callable

import pytest
from structlog.stdlib import get_logger
from structlog.testing import capture_logs

from kit.runtime.periodic import Periodic
from tests.support.polling import eventually

NEVER = 3600.0
"""Seconds, longer than any test."""

log = get_logger(__name__, part="tests")


class Work:
    """Counts its runs; the first ones fail with the given errors."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.begun = self.ended = self.at_once = 0

    async def __call__(self) -> None:
        self.begun += 1
        self.at_once = max(self.at_once, self.begun - self.ended)
        try:
            await asyncio.sleep(0.01)
            if self.errors:
                raise self.errors.pop(0)
        finally:
            await asyncio.sleep(0.01)
            self.ended += 1

    def has_ended(self, times: int) -> Callable[[], bool]:
        return lambda: self.ended >= times


async def test_failure_is_logged_and_the_work_repeated() -> None:
    work = Work(LookupError("no row"), TimeoutError())
    periodic = Periodic(work, 0.0, log=log, failure="rows not counted")
    with capture_logs() as lines:
        await periodic.start()
        await eventually(work.has_ended(4))
        assert periodic.is_running
        await periodic.stop()
    line = {"event": "rows not counted", "part": "tests", "log_level": "warning"}
    assert lines == [line | {"reason": "no row"}, line | {"reason": "TimeoutError"}]


async def test_unexpected_failure_is_logged_with_its_traceback() -> None:
    work = Work(LookupError("no row"), ZeroDivisionError())
    periodic = Periodic(work, 0.0, log=log, failure="rows not counted", expected=(LookupError, OSError))
    with capture_logs() as lines:
        await periodic.start()
        await eventually(work.has_ended(3))
        await periodic.stop()
    assert [(line["log_level"], line.get("exc_info", False)) for line in lines] == [("warning", False), ("error", True)]
    assert {line["event"] for line in lines} == {"rows not counted"}


async def test_stop_cancels_the_run_and_waits_for_its_end() -> None:
    work = Work()
    periodic = Periodic(work, NEVER, log=log, failure="rows not counted")
    await periodic.stop()  # before the start: nothing to do
    assert not periodic.is_running
    await periodic.start()
    await eventually(lambda: work.begun)
    await periodic.stop()
    assert (work.begun, work.ended, periodic.is_running) == (1, 1, False)


async def test_one_run_begins_after_the_end_of_the_last() -> None:
    work = Work()
    periodic = Periodic(work, 0.0, log=log, failure="rows not counted")
    await periodic.start()
    await eventually(work.has_ended(3))
    await periodic.stop()
    assert work.at_once == 1


@pytest.mark.parametrize("at_once", [True, False])
async def test_first_run_begins_at_once_or_after_an_interval(at_once: bool) -> None:
    work = Work()
    periodic = Periodic(work, NEVER, log=log, failure="rows not counted", at_once=at_once)
    await periodic.start()
    for _ in range(3):
        await asyncio.sleep(0)
    await periodic.stop()
    assert work.begun == int(at_once)
