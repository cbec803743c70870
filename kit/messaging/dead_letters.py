"""The dead-letter queue: list, replay and remove messages that could not be handled."""

import json
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import NamedTuple

from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.api import RetentionPolicy, StreamConfig
from nats.js.errors import APIError, NotFoundError

from contracts import nats_errors
from contracts.errors import ErrorKind
from contracts.headers import (
    DEAD_REASON,
    DEAD_STREAM,
    EXPECTED_LAST_SUBJECT_SEQUENCE,
    EXPECTED_STREAM,
    MESSAGE_ID,
    STORED_SEQUENCE,
    STORED_SUBJECT,
    StoredHeaders,
    header_names,
)
from contracts.streams import DEAD, DEAD_LETTERS, covers, stream_of
from kit.errors import NATS, Refusal, Unavailable
from kit.messaging.broker import Broker
from kit.messaging.reader import stream_reader

PAGE = 100
"""Maximum number of dead letters in memory at once, and at most `_PAGE_BYTES` of them."""
_PAGE_BYTES = 4 << 20
_REQUEST_TIMEOUT = 5.0
_ATTEMPTS = 3
_OBSOLETE_PREFIXES = ("nats-", "dead-")
"""Prefixes of headers about the original delivery or about its failure, which a replay does not carry."""
_FULL = frozenset({nats_errors.STREAM_FULL, nats_errors.NO_STORAGE, nats_errors.NO_ROOM})
_NUMBER_PENDING = "Nats-Num-Pending"
"""Header that a batch of direct gets has beside those of `StoredHeaders`."""
_NO_MESSAGE = frozenset({nats_errors.NO_MESSAGE, nats_errors.MESSAGE_NOT_DELETED, nats_errors.DELETE_FAILED})


class DeadLetterRecord(NamedTuple):
    """A message that could not be handled; `Dead-` headers say why."""

    id: int
    """Its sequence in `DEAD_LETTERS`: stable and never reused."""
    subject: str
    """The subject that it was first published on."""
    headers: Mapping[str, str]
    body: bytes

    @property
    def stream(self) -> str:
        """The stream that it came from; empty if the header is missing."""
        return self.headers.get(DEAD_STREAM, "")

    @property
    def reason(self) -> str:
        """Name of the error that it failed with."""
        return self.headers.get(DEAD_REASON, "")

    @property
    def own_headers(self) -> dict[str, str]:
        """The headers that its publisher set, such as the request id, the trace and the id of an event."""
        return {name: value for name, value in self.headers.items() if not name.lower().startswith(_OBSOLETE_PREFIXES)}


class ReplayRefused(Refusal):
    """A dead letter that cannot be replayed now; it stays in the queue."""

    kind = ErrorKind.CONFLICT
    slug = "stays-dead"

    def __init__(self, letter: DeadLetterRecord, reason: str) -> None:
        super().__init__(f"Dead letter {letter.id} ({letter.subject}) was not replayed: {reason}.")


class StreamFull(Refusal):
    """The stream that dead letters are replayed to is full; they stay in the queue."""

    kind = ErrorKind.UNAVAILABLE
    slug = "stream-full"

    def __init__(self, stream: str) -> None:
        super().__init__(f"The stream {stream} is full; the remaining dead letters stay in the queue.")


class DeadLetterQueue:
    """The dead-letter queue of one NATS server or cluster. Raises `Unavailable` if it does not reply."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._streams: dict[str, StreamConfig | None] = {}

    async def last(self) -> int:
        """Return the id of the newest dead letter; one that is replayed and fails again gets a higher id."""
        with _reachable():
            return int((await self._broker.jetstream.stream_info(DEAD_LETTERS.name)).state.last_seq)

    async def get(self, letter_id: int) -> DeadLetterRecord | None:
        """Return one dead letter; None if the id is unknown."""
        with _reachable():
            try:
                message = await self._broker.jetstream.get_msg(DEAD_LETTERS.name, letter_id)  # asks the leader
            except NotFoundError as error:
                if error.err_code == nats_errors.STREAM_NOT_FOUND:
                    raise
                return None
        return DeadLetterRecord(letter_id, _original(message.subject or ""), message.headers or {}, message.data or b"")

    async def pages(
        self, *, subject: str = ">", reason: str = "", after: int = 0, to: int | None = None
    ) -> AsyncGenerator[list[DeadLetterRecord], None]:
        """Yield pages of dead letters with ids above `after`, up to `to` (default: the newest one now), oldest first.

        `subject` may contain NATS wildcards; `reason` is compared case-insensitively, and an empty one matches all.
        """
        to = await self.last() if to is None else to
        with _reachable():
            async with stream_reader(self._broker.jetstream) as read:
                while after < to:
                    begin = {
                        "seq": after + 1,
                        "next_by_subj": f"{DEAD}{subject}",
                        "batch": min(PAGE, to - after),
                        "max_bytes": _PAGE_BYTES,
                    }
                    page = [_letter(message) for message in await read(DEAD_LETTERS.name, begin)]
                    if not page:
                        return
                    after = page[-1].id
                    if wanted := [letter for letter in page if letter.id <= to and _matches(letter, reason)]:
                        yield wanted

    async def replay(self, letter: DeadLetterRecord) -> None:
        """Publish a dead letter to its stream and wait for the acknowledgement; a second replay is deduplicated.

        A command of a batch goes to the stream of single commands. The message id is derived from the dead letter,
        because the stream may still deduplicate the original id. In a work queue, no other message may be pending on
        the same subject, unless its body is equal.

        Raises `ReplayRefused` if this dead letter cannot be replayed, and `StreamFull` if none can be now.
        """
        name, stream = await self._stream_of(letter)
        headers = letter.own_headers | {
            MESSAGE_ID: f"replay.{letter.id}.{letter.headers.get(MESSAGE_ID, '')}",
            EXPECTED_STREAM: name,
        }
        if stream.retention == RetentionPolicy.WORK_QUEUE:
            headers[EXPECTED_LAST_SUBJECT_SEQUENCE] = "0"
        for _ in range(_ATTEMPTS):
            with _reachable():
                try:
                    await self._broker.jetstream.publish(
                        letter.subject, letter.body, timeout=_REQUEST_TIMEOUT, headers=headers
                    )
                except APIError as error:
                    if error.err_code in _FULL:
                        raise StreamFull(name) from error
                    if error.err_code != nats_errors.WRONG_LAST_SEQUENCE:
                        raise ReplayRefused(letter, error.description or str(error)) from error
                else:
                    return
                try:
                    pending = await self._broker.jetstream.get_last_msg(name, letter.subject)
                except NotFoundError:
                    continue  # the pending message has been handled since
            if (pending.data or b"") == letter.body:
                return  # an earlier replay that did not remove the dead letter
            break
        raise ReplayRefused(letter, "another message is pending on its subject")

    async def remove(self, letter: DeadLetterRecord) -> bool:
        """Delete a dead letter; False if it was deleted before."""
        # Not with `delete_msg`: it makes the server overwrite the message on disk, 9 ms each and one at a time.
        request = json.dumps({"seq": letter.id, "no_erase": True}).encode()
        with _reachable():
            subject = f"$JS.API.STREAM.MSG.DELETE.{DEAD_LETTERS.name}"
            reply = json.loads((await self._broker.client.request(subject, request, timeout=_REQUEST_TIMEOUT)).data)
            if error := reply.get("error"):
                if error.get("err_code") not in _NO_MESSAGE:
                    APIError.from_error(error)
                return False
        return True

    async def forget(self, letter: DeadLetterRecord) -> None:
        """Remove the command of a dead letter from the stream that remembers it; nothing for other messages.

        Otherwise a discarded command without an answer would be shown as pending until it is purged.
        """
        with suppress(KeyError):
            stream = stream_of(letter.subject)
            if stream.memory is not None:
                with _reachable():
                    await self._broker.jetstream.purge_stream(stream.name, subject=letter.subject)

    async def _stream_of(self, letter: DeadLetterRecord) -> tuple[str, StreamConfig]:
        """Return the stream that stores the letter's subject: the one that it came from, or that of single commands."""
        if not letter.stream:
            raise ReplayRefused(letter, "it does not name its stream")
        origin = await self._config_of(letter.stream)
        if origin is None:
            raise ReplayRefused(letter, f"the stream {letter.stream} is missing")
        if _includes(origin, letter.subject):
            return letter.stream, origin
        with suppress(KeyError):
            single = stream_of(letter.subject).name
            if (config := await self._config_of(single)) and _includes(config, letter.subject):
                return single, config
        # Otherwise a service that replies on this subject would receive it as a request.
        raise ReplayRefused(letter, f"the stream {letter.stream} does not include its subject")

    async def _config_of(self, stream: str) -> StreamConfig | None:
        if stream not in self._streams:
            with _reachable():
                try:
                    self._streams[stream] = (await self._broker.jetstream.stream_info(stream)).config
                except NotFoundError:
                    self._streams[stream] = None
        return self._streams[stream]


@contextmanager
def _reachable() -> Iterator[None]:
    """Raise `Unavailable` for errors of nats-py."""
    try:
        yield
    except NotFoundError as error:
        raise Unavailable(f"stream {DEAD_LETTERS.name}") from error
    except NatsError as error:
        raise Unavailable(NATS) from error


def _includes(config: StreamConfig, subject: str) -> bool:
    return any(covers(pattern, subject) for pattern in config.subjects or ())


def _letter(message: Msg) -> DeadLetterRecord:
    headers = dict(message.headers or {})
    number, subject = int(headers[STORED_SEQUENCE]), headers[STORED_SUBJECT]
    for added in (*header_names(StoredHeaders), _NUMBER_PENDING):
        headers.pop(added, None)
    return DeadLetterRecord(number, _original(subject), headers, message.data)


def _original(subject: str) -> str:
    return subject.removeprefix(DEAD)


def _matches(letter: DeadLetterRecord, reason: str) -> bool:
    return not reason or reason.casefold() == letter.reason.casefold()
