"""Reliable cancellation of tasks."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any

_RETRY_INTERVAL = 0.2


async def cancel_and_wait(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel `tasks` and wait until they have ended.

    Repeats the cancellation until each task ends: Python 3.11's `asyncio.wait_for`, which nats-py and asyncpg use,
    loses a cancellation that arrives in the same turn of the loop as the result that it waits for.
    """
    running = {task for task in tasks if not task.done()}
    while running:
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=_RETRY_INTERVAL)


async def run_until_first_done(*coroutines: Coroutine[Any, Any, None]) -> None:
    """Run `coroutines` concurrently until the first one ends, and cancel the others. Raises the first one's error."""
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    for task in tasks:  # retrieve every exception: a caller cancelled twice never sees the tasks' results
        task.add_done_callback(lambda task: task.cancelled() or task.exception())
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await cancel_and_wait(tasks)
    for task in tasks:
        if task in done and not task.cancelled():
            task.result()
