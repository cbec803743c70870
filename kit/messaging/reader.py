"""Reads and finds stored messages with direct gets, which create no consumer on the server."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple

from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

from contracts.headers import STORED_SEQUENCE, STORED_SUBJECT
from contracts.streams import Stream, covers
from kit.errors import NATS, Unavailable
from kit.messaging.nats_compat import api_subject, client_of

_BATCH = 256
_REPLY_TIMEOUT = 5.0
_REPLICA_RETRY_DELAY = 0.05
LOOKUP_TIMEOUT = 1.0
"""Seconds for the replies to one lookup."""
_SUBJECTS_PER_REQUEST = 50
"""Bounds the memory that one reply takes: a message has up to one megabyte."""
_END, _NO_MESSAGES = "204", "404"

Read = Callable[[str, Mapping[str, Any]], Awaitable[list[Msg]]]
"""Returns the messages of a stream for a batch request such as `{"seq": 1, "next_by_subj": ">", "batch": 100}`.

Each message also has the headers `Nats-Sequence`, `Nats-Subject` and `Nats-Time-Stamp`. No messages means the end of
the stream, or a replica that lags behind (NATS ADR-31).
"""


class StoredMessage(NamedTuple):
    """One message as it is stored in its stream."""

    stream: str
    sequence: int
    subject: str
    body: bytes
    original: bool = True
    """Whether a service has published it here; False for a copy of a message of another stream (ADR 29)."""


def sequence_of(message: Msg) -> int | None:
    """Return the sequence of a message that was republished or read from its stream; None for any other."""
    sequence = (message.headers or {}).get(STORED_SEQUENCE)
    return None if sequence is None else int(sequence)


def stored_message(stream: Stream, message: Msg) -> StoredMessage:
    """Return a message that `stream` has republished or that was read from it. Raises `KeyError` for any other."""
    headers = message.headers or {}
    sequence, subject = int(headers[STORED_SEQUENCE]), headers[STORED_SUBJECT]
    original = any(covers(each, subject) for each in stream.subjects)
    return StoredMessage(stream.name, sequence, subject, message.data, original)


@asynccontextmanager
async def stream_reader(jetstream: JetStreamContext) -> AsyncIterator[Read]:
    """Yield a function that reads streams over one subscription.

    The function raises nats-py's errors, such as a timeout after 5 s without a reply.
    """
    client = client_of(jetstream)
    inbox = client.new_inbox()
    replies = await client.subscribe(inbox)

    async def read(stream: str, begin: Mapping[str, Any]) -> list[Msg]:
        await client.publish(_direct_get(jetstream, stream), json.dumps(begin).encode(), reply=inbox)
        messages: list[Msg] = []
        while STORED_SEQUENCE in ((message := await replies.next_msg(timeout=_REPLY_TIMEOUT)).headers or {}):
            messages.append(message)
        return messages

    try:
        yield read
    finally:
        with suppress(NatsError):
            await replies.unsubscribe()


async def read_range(jetstream: JetStreamContext, stream: str, *, after: int, to: int) -> AsyncGenerator[Msg, None]:
    """Yield the messages of a stream from `after`, exclusive, to `to`, inclusive, which must have been stored.

    Those that the stream has removed are left out. Raises nats-py's errors.
    """
    if after >= to:
        return
    async with stream_reader(jetstream) as read:
        while after < to:
            messages = await read(stream, {"seq": after + 1, "next_by_subj": ">", "batch": min(_BATCH, to - after)})
            for message in messages:
                sequence = sequence_of(message) or 0
                if sequence > to:
                    return
                after = sequence
                yield message
            if not messages and not await _is_stored(jetstream, stream, to):
                return


async def _is_stored(jetstream: JetStreamContext, stream: str, sequence: int) -> bool:
    """Return whether the leader has the message; then the replica that did not return it is behind."""
    try:
        await jetstream.get_msg(stream, sequence)
    except NotFoundError:
        return False
    await asyncio.sleep(_REPLICA_RETRY_DELAY)
    return True


async def last_bodies(
    jetstream: JetStreamContext,
    stream: Stream,
    subjects: Collection[str],
    *,
    replicas: int = 1,
    timeout: float = LOOKUP_TIMEOUT,  # noqa: ASYNC109 - translated to Unavailable
) -> dict[str, bytes]:
    """Return the body of the last message on each of these subjects that has one.

    A direct get may be answered by a replica that lags behind, or is cut off from the leader. So with several replicas
    the leader is asked for what a direct get does not find. Raises `Unavailable` if JetStream does not reply within
    `timeout` seconds.
    """
    wanted, found = sorted(set(subjects)), dict[str, bytes]()
    try:
        async with asyncio.timeout(timeout):
            for start in range(0, len(wanted), _SUBJECTS_PER_REQUEST):
                subjects_of_request = wanted[start : start + _SUBJECTS_PER_REQUEST]
                found |= await _request(jetstream, stream, subjects_of_request)
                if replicas > 1 and (missing := [each for each in subjects_of_request if each not in found]):
                    found |= await _request_leader(jetstream, stream, missing)
    except (NatsError, TimeoutError) as error:
        raise Unavailable(NATS) from error
    return found


async def _request(jetstream: JetStreamContext, stream: Stream, subjects: Sequence[str]) -> dict[str, bytes]:
    """Request the last message of each subject in one direct get (NATS ADR-31)."""
    client = client_of(jetstream)
    inbox = client.new_inbox()
    replies = await client.subscribe(inbox)
    try:
        body = json.dumps({"multi_last": subjects}).encode()
        await client.publish(_direct_get(jetstream, stream.name), body, reply=inbox)
        found: dict[str, bytes] = {}
        while STORED_SEQUENCE in (headers := (message := await replies.next_msg(timeout=LOOKUP_TIMEOUT)).headers or {}):
            found[headers[STORED_SUBJECT]] = message.data
        if headers.get("Status") not in {_END, _NO_MESSAGES}:
            raise Unavailable(NATS)  # such as a stream that does not exist
        return found
    finally:
        with suppress(NatsError):
            await replies.unsubscribe()


async def _request_leader(jetstream: JetStreamContext, stream: Stream, subjects: Sequence[str]) -> dict[str, bytes]:
    """Request the last message of each subject from the leader of the stream."""

    async def one(subject: str) -> bytes | None:
        try:
            return (await jetstream.get_last_msg(stream.name, subject)).data or b""
        except NotFoundError:
            return None

    bodies = await asyncio.gather(*map(one, subjects))
    return {subject: body for subject, body in zip(subjects, bodies, strict=True) if body is not None}


def _direct_get(jetstream: JetStreamContext, stream: str) -> str:
    return api_subject(jetstream, f"DIRECT.GET.{stream}")
