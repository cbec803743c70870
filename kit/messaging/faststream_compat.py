"""Every use of a private name of FastStream, with the version that it was checked with and the reason.

Checked with faststream 0.7.8. A new version of FastStream may rename any of these: tests/kit/messaging covers them all.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Protocol

from faststream import ContextRepo
from faststream.response import Response
from nats.aio.msg import Msg

PullLoop = Callable[[Any, Callable[[Msg], Awaitable[Any]]], Awaitable[None]]
"""Pulls messages of a subscriber and calls the callback with each, until cancelled."""


def pull_from(subscriber: Any, durable: str, loop: PullLoop) -> None:
    """Let a pull subscriber use an existing durable consumer, and `loop` instead of FastStream's own.

    Reason: FastStream's `pull_subscribe` creates a consumer that is missing, which a service's login must not do, and
    its loop calls nats-py's `fetch`, which holds single messages back for seconds (see `kit.messaging.pull`). Related:
    FastStream issue 2219, nats-py issue 791.
    """

    async def create_subscription() -> None:
        if subscriber.subscription is None:
            subscriber.subscription = await subscriber.jetstream.pull_subscribe_bind(
                durable=durable, stream=subscriber.stream.name
            )
            subscriber.add_task(partial(loop, subscriber), func_kwargs={"cb": subscriber.consume})

    replace_subscription(subscriber, create_subscription)


def replace_processing(subscriber: Any, process: Callable[[Msg], Awaitable[None]]) -> None:
    """Let a pull subscriber call `process` with each message, instead of FastStream's middlewares and injection.

    `TestNatsBroker` takes the same way, so tests in memory run the same code.

    Reason: as for `process_directly`; here FastStream's `consume` remains, which drops messages while it stops.
    """

    async def process_message(message: Msg) -> Response:
        with subscriber.lock:  # on stop FastStream waits for the messages in progress
            await process(message)
        return Response(None)

    subscriber.process_message = process_message


class Work(Protocol):
    """Work on messages that continues after `start` has returned."""

    async def start(self, message: Msg, /) -> None:
        """Start to work on a message."""

    async def finish(self) -> None:
        """Wait until all started work is done."""


def process_directly(subscriber: Any, process: Callable[[Msg], Awaitable[Any]], work: Work) -> None:
    """Replace FastStream's processing of a subscriber's messages: `work` gets them from NATS, `process` in memory.

    Reason: FastStream's decoder, middlewares, context stacks, validation and worker pool cost 400 µs per message (ADR
    21), and it has no option to leave them out. `TestNatsBroker` calls `process_message`. Documents, `start` and the
    subscription stay FastStream's. No upstream issue known.
    """
    subscriber.consume = work.start
    subscriber.process_message = process
    subscriber.work = work


async def finish_work(subscriber: Any) -> None:
    """Wait until the messages that `process_directly` has started to work on are done.

    Reason: on stop FastStream waits only for what it processes itself.
    """
    if work := getattr(subscriber, "work", None):
        await work.finish()


def context_of(subscriber: Any) -> ContextRepo:
    """Return the context of the broker that includes a subscriber's router.

    Reason: FastStream gives it to middlewares and its own processing only.
    """
    context: ContextRepo = subscriber._outer_config.context  # noqa: SLF001
    return context


def replace_subscription(subscriber: Any, create: Callable[[], Awaitable[None]]) -> None:
    """Let a subscriber call `create` when it starts, instead of subscribing to its subject.

    Reason: an event is read from what its stream republishes, under another subject, and TestNatsBroker, which creates
    no subscriptions, must find the subscriber under its own. No upstream issue known.
    """
    subscriber._create_subscription = create  # noqa: SLF001
