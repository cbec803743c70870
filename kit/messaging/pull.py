"""A continuous pull from a durable consumer: each message is handled as it comes, none waits for a batch to fill.

nats-py's `fetch`, on which FastStream's pull subscriber stands, asks anew for every batch and leaves the old request
open; a message that answers the old one is then held back until the new one ends. Measured with single messages and a
timeout of 5 s: most took 8 ms, one in twenty up to 4 s.
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

from kit.messaging.nats_compat import next_message_subject

log = get_logger(__name__)

BATCH = 100
"""Messages per pull request; at most three times this number is in progress."""
_EXPIRES = 30.0
_HEARTBEAT = 1.0
_SILENCE = 2 * _HEARTBEAT + 1
_PAUSE = 0.5
_HAND_BACK_SECONDS = 2.0
_NANOSECONDS = 1_000_000_000
_IDLE, _NO_MESSAGES, _EXPIRED = "100", "404", "408"

_REQUEST = json.dumps(
    {"batch": BATCH, "expires": int(_EXPIRES * _NANOSECONDS), "idle_heartbeat": int(_HEARTBEAT * _NANOSECONDS)}
).encode()


async def pull(subscriber: Any, cb: Callable[[Msg], Awaitable[Any]]) -> None:
    """Hand each message of the subscriber's consumer to `cb`, until cancelled; what `cb` has not got is given back.

    What comes over the connection together is handed out together, in one turn of the event loop: calls that gather
    their work then find each other.
    """
    client: Client = subscriber.connection
    arrived: asyncio.Queue[Msg] = asyncio.Queue()
    inbox = client.new_inbox()
    answers = await client.subscribe(inbox, cb=arrived.put)
    working: set[asyncio.Future[Any]] = set()
    try:
        while True:
            try:
                if client.is_connected:  # else nats-py would keep the requests, and send them all after the reconnect
                    next_messages = next_message_subject(subscriber.subscription)
                    await client.publish(next_messages, _REQUEST, inbox)
                    await _hand_out(arrived, cb, working)
                else:
                    await asyncio.sleep(_PAUSE)
            except NatsError as error:  # no consumer, no JetStream: the broker makes both again
                log.warning("nothing can be pulled", subject=subscriber.subject.template, reason=str(error))
                await asyncio.sleep(_PAUSE)
    finally:
        # Else they would stay with this process, which is going, until the consumer's ack wait is over.
        with suppress(NatsError, TimeoutError):
            async with asyncio.timeout(_HAND_BACK_SECONDS):
                await answers.drain()  # type: ignore[no-untyped-call]
                for message in _here(arrived):
                    if _status(message) is None:
                        await message.nak()


async def _hand_out(
    arrived: asyncio.Queue[Msg], cb: Callable[[Msg], Awaitable[Any]], working: set[asyncio.Future[Any]]
) -> None:
    """Hand out what one request brings; returns when it is over or lost, raises `NatsError` when it is refused."""
    left = BATCH
    while left > 0:
        try:
            async with asyncio.timeout(_SILENCE):
                here = [await arrived.get()]
        except TimeoutError:
            return  # not even a heartbeat: the request went down with a connection or a server
        refusal = None
        for message in (*here, *_here(arrived)):
            status = _status(message)
            if status is None:
                left -= 1
                task = asyncio.ensure_future(cb(message))
                working.add(task)
                task.add_done_callback(working.discard)
            elif status in (_NO_MESSAGES, _EXPIRED):
                left = 0
            elif status != _IDLE:
                refusal = NatsError(f"{status} {(message.headers or {}).get('Description', '')}")
        if refusal is not None:
            raise refusal
        if len(working) >= 2 * BATCH:
            await asyncio.wait(working, return_when=asyncio.FIRST_COMPLETED)


def _here(arrived: asyncio.Queue[Msg]) -> list[Msg]:
    return [arrived.get_nowait() for _ in range(arrived.qsize())]


def _status(message: Msg) -> str | None:
    """Return the status that a message without a body may be; None for a real one."""
    return None if message.data else (message.headers or {}).get("Status")
