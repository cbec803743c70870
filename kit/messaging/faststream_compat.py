"""Every use of a private name of FastStream, with the version that it was checked with and the reason.

Checked with faststream 0.7.8. A new version of FastStream may rename any of these: tests/kit/messaging covers them all.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from faststream._internal.endpoint.subscriber.mixins import ConcurrentMixin
from nats.aio.msg import Msg

PullLoop = Callable[[Any, Callable[[Msg], Awaitable[Any]]], Awaitable[None]]
"""Pulls messages of a subscriber and calls the callback with each, until cancelled."""


def replace_pull_loop(subscriber: Any, loop: PullLoop) -> None:
    """Let a pull subscriber use `loop` instead of FastStream's own.

    Reason: FastStream's loop calls nats-py's `fetch`, which holds single messages back for seconds (see
    `kit.messaging.pull`). Related: FastStream issue 2219, nats-py issue 791.
    """
    subscriber._consume_pull = partial(loop, subscriber)  # noqa: SLF001


def has_workers(subscriber: Any) -> bool:
    """Return whether a subscriber hands its messages to a pool of workers (`max_workers`).

    Reason: the class has no public name. No upstream issue known.
    """
    return isinstance(subscriber, ConcurrentMixin)


def is_idle(subscriber: Any) -> bool:
    """Return whether no message of a subscriber with workers waits or is being handled.

    Reason: on stop FastStream drops messages that wait for a worker, and has no event for "all are handled".
    No upstream issue known.
    """
    queued = subscriber.receive_stream.statistics().current_buffer_used
    return not queued and bool(subscriber.limiter.value == subscriber.max_workers)


def replace_subscription(subscriber: Any, create: Callable[[], Awaitable[None]]) -> None:
    """Let a subscriber call `create` when it starts, instead of subscribing to its subject.

    Reason: an event is read from what its stream republishes, under another subject, and TestNatsBroker, which creates
    no subscriptions, must find the subscriber under its own. No upstream issue known.
    """
    subscriber._create_subscription = create  # noqa: SLF001
