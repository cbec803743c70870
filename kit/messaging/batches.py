"""Handlers of batches: the messages that arrive together are handled in one call."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Generic, NamedTuple, TypeVar
from weakref import WeakKeyDictionary

from kit.batching import BatchLoader, bisect_failures
from kit.inbox import InboxKey
from kit.runtime.depends import provided_parameters
from kit.runtime.tracing import Trace

AnyMessage = TypeVar("AnyMessage")


class Received(NamedTuple, Generic[AnyMessage]):
    """A message of a batch, with the trace of its request and its inbox key."""

    message: AnyMessage
    trace: Trace
    inbox_key: InboxKey


class BatchHandler:
    """Calls `handler` with the messages that arrive together; each call is one transaction of the handler.

    A batch that fails is halved until the failing message stands alone, so its neighbours are handled. The handler's
    other parameters are attributes of the service's `Dependencies`, resolved for each call. At most `in_flight` calls
    run at once.
    """

    def __init__(self, handler: Callable[..., Awaitable[None]], in_flight: int) -> None:
        self._handler = handler
        self._in_flight = in_flight
        self._parameters = provided_parameters(handler)
        # One loader for each app in this process, which in production is one.
        self._loaders: WeakKeyDictionary[Any, BatchLoader[Received[Any], Exception | None]] = WeakKeyDictionary()

    async def handle(self, received: Received[Any], dependencies: Any) -> None:
        """Handle one message with those that arrive at the same time; raise the error that its handling failed with."""
        if dependencies not in self._loaders:
            work = partial(self._handle_all, dependencies)
            self._loaders[dependencies] = BatchLoader(work, in_flight=self._in_flight)
        if failure := await self._loaders[dependencies](received):
            raise failure

    async def _handle_all(self, dependencies: Any, batch: Sequence[Received[Any]]) -> list[Exception | None]:
        return await bisect_failures(partial(self._call, dependencies), batch)

    async def _call(self, dependencies: Any, batch: Sequence[Received[Any]]) -> None:
        arguments = {name: provided.value(dependencies) for name, provided in self._parameters.items()}
        await self._handler(batch, **arguments)
