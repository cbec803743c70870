"""Polling with a deadline."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import TypeVar, overload

Result = TypeVar("Result")


@overload
async def eventually(
    condition: Callable[[], Awaitable[Result]],
    *,
    timeout: float = 60.0,  # noqa: ASYNC109 - it fails with a description of the state
    describe: Callable[[], object] = str,
) -> Result: ...


@overload
async def eventually(
    condition: Callable[[], Result],
    *,
    timeout: float = 60.0,  # noqa: ASYNC109 - same reason
    describe: Callable[[], object] = str,
) -> Result: ...


async def eventually(
    condition: Callable[[], Result | Awaitable[Result]],
    *,
    timeout: float = 60.0,  # noqa: ASYNC109 - same reason
    describe: Callable[[], object] = str,
) -> Result:
    """Return the first true result of `condition`.

    Raises `AssertionError` with the text of `describe` after `timeout` seconds.
    """
    loop = asyncio.get_running_loop()
    start = loop.time()
    while True:
        returned = condition()
        result: Result = await returned if inspect.isawaitable(returned) else returned
        if result:
            return result
        elapsed = loop.time() - start
        if elapsed >= timeout:
            raise AssertionError(f"not true after {timeout:g} s: {describe()}")
        await asyncio.sleep(min(0.01 + elapsed / 50, 0.1))  # 100 calls per second first, then fewer: they cost time
