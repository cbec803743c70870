"""Continuous pull from a durable consumer: each message is handled when it arrives, without waiting for a full batch.

FastStream's pull subscriber uses nats-py's `fetch`, which sends a new request for every batch and leaves the old one
open; a message that arrives for the old request is held back until the new one ends. Measured with single messages and
a timeout of 5 s: most took 8 ms, one in twenty up to 4 s.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from structlog.stdlib import get_logger

from kit.messaging.faststream_compat import context_of
from kit.messaging.losses import LOSSES, Losses
from kit.messaging.nats_compat import drain, next_message_subject

log = get_logger(__name__)

_REQUEST_EXPIRY = 30.0
_HEARTBEAT_INTERVAL = 1.0
_HEARTBEAT_TIMEOUT = 2 * _HEARTBEAT_INTERVAL + 1
_RETRY_DELAY = 0.5
_RETURN_TIMEOUT = 2.0
_NANOSECONDS = 1_000_000_000
_IDLE, _NO_MESSAGES, _EXPIRED = "100", "404", "408"


async def pull(subscriber: Any, cb: Callable[[Msg], Awaitable[Any]], *, batch: int) -> None:
    """Call `cb` with each message of the subscriber's consumer until cancelled; then return unhandled messages (nak).

    At most `batch` messages are requested at once, and three times as many are in progress. Messages that arrive
    together are dispatched in one turn of the event loop, so that a `BatchLoader` batches them.
    """
    client: Client = subscriber.connection
    request, inbox = _request(batch), _Inbox(client)
    losses: Losses = context_of(subscriber).get(LOSSES)
    in_progress: set[asyncio.Future[Any]] = set()
    refused = ""
    try:
        with losses.followed_by(inbox.close):
            while True:
                try:
                    # Without a connection nats-py would buffer the requests and send all of them after the reconnect.
                    if client.is_connected:
                        subject = await inbox.open()
                        await client.publish(next_message_subject(subscriber.subscription), request, subject)
                        await _dispatch(inbox, cb, in_progress, batch)
                        refused = ""
                    else:
                        await asyncio.sleep(_RETRY_DELAY)
                except NatsError as error:  # such as no consumer yet: readiness names it, and `mkstore provision`
                    if refused != (refused := str(error)):  # a line per attempt, twice a second, would hide the rest
                        log.warning("pull failed", subject=subscriber.subject.template, reason=refused)
                    await asyncio.sleep(_RETRY_DELAY)
    finally:
        # Otherwise they are redelivered only after the consumer's ack wait.
        with suppress(NatsError, TimeoutError):
            async with asyncio.timeout(_RETURN_TIMEOUT):
                for message in await inbox.drain():
                    if _status(message) is None:
                        await message.nak()


class _Inbox:
    """What the server sends in reply to the requests, on another subject for each connection.

    A request stays open on the server after the loss of its connection. If the service has an account, and subscribes
    to the same subject again, the server delivers messages for the old request, and none of them arrives (nats-server
    2.15.1). They are delivered again only after the ack wait, perhaps for the next old request: a payment was recorded
    20 s late. An old request without a subscription to its subject gets no message.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._subscription: Subscription | None = None
        self._arrived: asyncio.Queue[Msg | None] = asyncio.Queue()
        """Messages, and None for the loss of the connection."""

    @property
    def is_open(self) -> bool:
        """Whether a request that was sent since `open` is still answered."""
        return self._subscription is not None

    async def open(self) -> str:
        """Return the subject for the next request; subscribe to a new one if the last connection was lost."""
        if self._subscription is None:
            for message in self._take_all():
                self._arrived.put_nowait(message)
            self._subscription = await self._client.subscribe(self._client.new_inbox(), cb=self._arrived.put)
        return self._subscription.subject

    async def close(self) -> None:
        """Give up the subject after the loss of the connection; the request ends."""
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            self._arrived.put_nowait(None)
            with suppress(NatsError):
                await subscription.unsubscribe()

    async def drain(self) -> list[Msg]:
        """Unsubscribe, and return the messages that have arrived until then."""
        if self._subscription is not None:
            await drain(self._subscription)
        return self._take_all()

    async def next(self) -> list[Msg]:
        """Wait for a message, and return it with those that arrive together; none if the connection is lost."""
        first = await self._arrived.get()
        return [] if first is None else [first, *self._take_all()]

    def _take_all(self) -> list[Msg]:
        waiting = [self._arrived.get_nowait() for _ in range(self._arrived.qsize())]
        return [message for message in waiting if message is not None]


def _request(batch: int) -> bytes:
    return json.dumps(
        {
            "batch": batch,
            "expires": int(_REQUEST_EXPIRY * _NANOSECONDS),
            "idle_heartbeat": int(_HEARTBEAT_INTERVAL * _NANOSECONDS),
        }
    ).encode()


async def _dispatch(
    inbox: _Inbox,
    cb: Callable[[Msg], Awaitable[Any]],
    in_progress: set[asyncio.Future[Any]],
    batch: int,
) -> None:
    """Dispatch the messages of one request until it ends or is lost. Raises `NatsError` if the server refuses it."""
    remaining = batch
    while remaining > 0 and inbox.is_open:
        try:
            async with asyncio.timeout(_HEARTBEAT_TIMEOUT):
                messages = await inbox.next()
        except TimeoutError:
            return  # no heartbeat: the server has lost the request
        refusal = None
        for message in messages:
            status = _status(message)
            if status is None:
                remaining -= 1
                task = asyncio.ensure_future(cb(message))
                in_progress.add(task)
                task.add_done_callback(in_progress.discard)
            elif status in (_NO_MESSAGES, _EXPIRED):
                remaining = 0
            elif status != _IDLE:
                refusal = NatsError(f"{status} {(message.headers or {}).get('Description', '')}")
        if refusal is not None:
            raise refusal
        if len(in_progress) >= 2 * batch:
            await asyncio.wait(in_progress, return_when=asyncio.FIRST_COMPLETED)


def _status(message: Msg) -> str | None:
    """Return the status code of a status message (it has no body); None for a stored message."""
    return None if message.data else (message.headers or {}).get("Status")
