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
from nats.errors import Error as NatsError
from structlog.stdlib import get_logger

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
    request = _request(batch)
    arrived: asyncio.Queue[Msg] = asyncio.Queue()
    inbox = client.new_inbox()
    subscription = await client.subscribe(inbox, cb=arrived.put)
    in_progress: set[asyncio.Future[Any]] = set()
    refused = ""
    try:
        while True:
            try:
                # Without a connection nats-py would buffer the requests and send all of them after the reconnect.
                if client.is_connected:
                    next_messages = next_message_subject(subscriber.subscription)
                    await client.publish(next_messages, request, inbox)
                    await _dispatch(arrived, cb, in_progress, batch)
                    refused = ""
                else:
                    await asyncio.sleep(_RETRY_DELAY)
            except NatsError as error:  # such as no consumer yet: readiness names it, and `mkstore provision`
                if refused != (refused := str(error)):  # a line for each attempt, twice a second, would hide the rest
                    log.warning("pull failed", subject=subscriber.subject.template, reason=refused)
                await asyncio.sleep(_RETRY_DELAY)
    finally:
        # Otherwise they are redelivered only after the consumer's ack wait.
        with suppress(NatsError, TimeoutError):
            async with asyncio.timeout(_RETURN_TIMEOUT):
                await drain(subscription)
                for message in _take_all(arrived):
                    if _status(message) is None:
                        await message.nak()


def _request(batch: int) -> bytes:
    return json.dumps(
        {
            "batch": batch,
            "expires": int(_REQUEST_EXPIRY * _NANOSECONDS),
            "idle_heartbeat": int(_HEARTBEAT_INTERVAL * _NANOSECONDS),
        }
    ).encode()


async def _dispatch(
    arrived: asyncio.Queue[Msg],
    cb: Callable[[Msg], Awaitable[Any]],
    in_progress: set[asyncio.Future[Any]],
    batch: int,
) -> None:
    """Dispatch the messages of one request until it ends or is lost. Raises `NatsError` if the server refuses it."""
    remaining = batch
    while remaining > 0:
        try:
            async with asyncio.timeout(_HEARTBEAT_TIMEOUT):
                first = await arrived.get()
        except TimeoutError:
            return  # no heartbeat: the request was lost with a connection or a server
        refusal = None
        for message in (first, *_take_all(arrived)):
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


def _take_all(arrived: asyncio.Queue[Msg]) -> list[Msg]:
    return [arrived.get_nowait() for _ in range(arrived.qsize())]


def _status(message: Msg) -> str | None:
    """Return the status code of a status message (it has no body); None for a stored message."""
    return None if message.data else (message.headers or {}).get("Status")
