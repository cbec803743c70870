"""Handlers of batches: what arrives together is handled in one call."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any, Generic, NamedTuple, TypeVar
from weakref import WeakKeyDictionary

from kit.batching import BatchLoader, bisect_failures
from kit.errors import NonRetryable, OutcomeUnknown, Unavailable
from kit.inbox import InboxKey
from kit.runtime import spans
from kit.runtime.depends import provided_parameters
from kit.runtime.failpoints import HALF_HANDLED, failpoint, poison
from kit.runtime.tracing import Trace

AnyMessage = TypeVar("AnyMessage")

MAX_CALL = 1000
"""Maximum number of commands or events in one call of a handler."""
PACE = 0.02
"""Seconds from one call to the next, unless the call was full: a backlog is handled without a pause."""
FULL_CALL = 200
"""Commands or events that make a call full."""


class Received(NamedTuple, Generic[AnyMessage]):
    """An event or a command, with the trace of its request and its inbox key."""

    message: AnyMessage
    trace: Trace
    inbox_key: InboxKey


Around = Callable[[int], AbstractAsyncContextManager[None]]
Outcomes = list[Exception | None]
"""For each item the error that its handling failed with, or None."""


class BatchHandler:
    """Calls `handler` with the items that arrive together; each call is one transaction of the handler.

    A call that fails is halved until the failing item stands alone, so its neighbours are handled. The handler's other
    parameters are attributes of the service's `Dependencies`, resolved for each call. At most `in_flight` calls run at
    once, and as many for items that are handled alone. Calls start at least `pace` seconds apart, except after one that
    was full: with many items, or with as many messages as a consumer pulls at once.
    """

    def __init__(self, handler: Callable[..., Awaitable[None]], in_flight: int, pace: float = PACE) -> None:
        self._handler = handler
        self._in_flight = in_flight
        self._pace = pace
        self._parameters = provided_parameters(handler)
        self._running: WeakKeyDictionary[Any, _Calls] = WeakKeyDictionary()

    async def handle(self, items: Sequence[Received[Any]], dependencies: Any, share: float = 0.0) -> Outcomes:
        """Handle the items of one message, with those of the messages that arrive at the same time.

        `share` is the part that one message is of those that its consumer pulls at once.
        """
        try:
            return await self._calls(dependencies).together(_Message(items, share))
        except (Unavailable, OutcomeUnknown) as error:
            return [error] * len(items)

    async def handle_each(self, items: Sequence[Received[Any]], dependencies: Any, around: Around) -> Outcomes:
        """Handle the items of one message one at a time, so that none shares a transaction with another.

        `around` is entered for the number of each item; a `NonRetryable` that it raises is the item's error.
        """
        outcomes: Outcomes = []
        async with self._calls(dependencies).alone:
            for number, item in enumerate(items):
                if outcomes:
                    failpoint(HALF_HANDLED)
                try:
                    async with around(number):
                        outcome = await bisect_failures(partial(self._call, dependencies), [item])
                    outcomes += outcome
                except NonRetryable as error:
                    outcomes.append(error)
                except (Unavailable, OutcomeUnknown) as error:
                    return outcomes + [error] * (len(items) - len(outcomes))
        return outcomes

    def _calls(self, dependencies: Any) -> "_Calls":
        if dependencies not in self._running:
            pace = _Pace(self._pace)
            work = partial(self._handle_all, dependencies, pace)
            together = BatchLoader(work, in_flight=self._in_flight, before=pace.wait)
            self._running[dependencies] = _Calls(together, asyncio.Semaphore(self._in_flight))
        return self._running[dependencies]

    async def _handle_all(self, dependencies: Any, pace: "_Pace", messages: Sequence["_Message"]) -> list[Outcomes]:
        items = [item for message in messages for item in message.items]
        pace.started(is_full=len(items) >= FULL_CALL or sum(message.share for message in messages) >= 1)
        outcomes: Outcomes = []
        for start in range(0, len(items), MAX_CALL):
            if outcomes:
                failpoint(HALF_HANDLED)
            outcomes += await bisect_failures(partial(self._call, dependencies), items[start : start + MAX_CALL])
        each = iter(outcomes)
        return [_take(each, len(message.items)) for message in messages]

    async def _call(self, dependencies: Any, batch: Sequence[Received[Any]]) -> None:
        poison(getattr(each.message, "id", "") for each in batch)
        arguments = {name: provided.value(dependencies) for name, provided in self._parameters.items()}
        if not spans.are_recorded():
            await self._handler(batch, **arguments)
            return
        # A command of a batch arrives on the subject of the batch, so the consumer names it; in memory there is none.
        consumers = [item.inbox_key.consumer or type(item.message).subject for item in batch]
        with spans.batch_span("process", "CONSUMER", consumers, [item.trace for item in batch]) as inner:
            own = [item._replace(trace=trace) for item, trace in zip(batch, inner, strict=True)]
            await self._handler(own, **arguments)


class _Message(NamedTuple):
    """The items of one message, and its share of those that are pulled at once."""

    items: Sequence[Received[Any]]
    share: float


class _Calls(NamedTuple):
    """The running calls of one app in this process, which in production is the only one."""

    together: BatchLoader["_Message", Outcomes]
    alone: asyncio.Semaphore


class _Pace:
    """The time from one call to the next, so that messages that arrive at short intervals share a transaction."""

    def __init__(self, pace: float) -> None:
        self._pace = pace
        self._next_call = 0.0

    async def wait(self) -> None:
        """Wait until the next call may start: at once after a quiet time, and after a call that was full."""
        while (delay := self._next_call - time.monotonic()) > 0:  # noqa: ASYNC110 - a time, not a condition, is awaited
            await asyncio.sleep(delay)

    def started(self, *, is_full: bool) -> None:
        """Note that a call starts."""
        self._next_call = 0.0 if is_full else time.monotonic() + self._pace


def _take(outcomes: Iterator[Exception | None], number: int) -> Outcomes:
    return [next(outcomes) for _ in range(number)]
