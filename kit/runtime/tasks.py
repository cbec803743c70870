"""Ending tasks for certain."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any

_AGAIN = 0.2


async def cancel_and_wait(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel `tasks` and return when they have ended.

    A cancellation is repeated until it is heard: Python 3.11's `asyncio.wait_for`, on which the clients of NATS and
    PostgreSQL stand, drops one that comes in the same turn of the loop as what it waits for.
    """
    living = {task for task in tasks if not task.done()}
    while living:
        for task in living:
            task.cancel()
        _, living = await asyncio.wait(living, timeout=_AGAIN)


async def run_until_first_done(*work: Coroutine[Any, Any, None]) -> None:
    """Do all of `work` side by side until the first of it ends, and end the rest; raises what that one raised."""
    tasks = [asyncio.create_task(part) for part in work]
    for task in tasks:  # asked, none is complained of: whoever ends this twice does not wait for what a task says
        task.add_done_callback(lambda task: task.cancelled() or task.exception())
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await cancel_and_wait(tasks)
    for task in tasks:
        if task in done and not task.cancelled():
            task.result()
