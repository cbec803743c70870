"""Polling with a deadline."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import TypeVar, overload

Found = TypeVar("Found")


@overload
async def eventually(
    look: Callable[[], Awaitable[Found]], *, within: float = 15.0, or_else: Callable[[], object] = str
) -> Found: ...


@overload
async def eventually(
    look: Callable[[], Found], *, within: float = 15.0, or_else: Callable[[], object] = str
) -> Found: ...


async def eventually(
    look: Callable[[], Found | Awaitable[Found]], *, within: float = 15.0, or_else: Callable[[], object] = str
) -> Found:
    """Return the first true result of `look`; fail after `within` seconds with the text of `or_else`."""
    deadline = asyncio.get_running_loop().time() + within
    while True:
        result = look()
        found: Found = await result if inspect.isawaitable(result) else result
        if found:
            return found
        assert asyncio.get_running_loop().time() < deadline, f"not true after {within:g} s: {or_else()}"
        await asyncio.sleep(0.01)
