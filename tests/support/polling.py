"""Polling with a deadline."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import TypeVar, overload

Result = TypeVar("Result")


@overload
async def eventually(
    condition: Callable[[], Awaitable[Result]], *, timeout: float = 60.0, describe: Callable[[], object] = str
) -> Result: ...


@overload
async def eventually(
    condition: Callable[[], Result], *, timeout: float = 60.0, describe: Callable[[], object] = str
) -> Result: ...


async def eventually(
    condition: Callable[[], Result | Awaitable[Result]],
    *,
    timeout: float = 60.0,
    describe: Callable[[], object] = str,
) -> Result:
    """Return the first true result of `condition`; fail after `timeout` seconds with the text of `describe`."""
    deadline = asyncio.get_running_loop().time() + timeout
    while True:
        returned = condition()
        result: Result = await returned if inspect.isawaitable(returned) else returned
        if result:
            return result
        assert asyncio.get_running_loop().time() < deadline, f"not true after {timeout:g} s: {describe()}"
        await asyncio.sleep(0.01)
