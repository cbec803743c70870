"""Polling with a deadline, for what happens when it happens."""

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
    """Return the first true thing that `look` returns; fail after `within` seconds with what `or_else` says."""
    deadline = asyncio.get_running_loop().time() + within
    while True:
        seen = look()
        found: Found = await seen if inspect.isawaitable(seen) else seen
        if found:
            return found
        assert asyncio.get_running_loop().time() < deadline, f"not true after {within:g} s: {or_else()}"
        await asyncio.sleep(0.01)
