"""Dead letters: looking through what could not be handled, sending it again, and letting go of it."""

import json
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.api import RetentionPolicy, StreamConfig
from nats.js.errors import APIError, NotFoundError

from contracts.errors import ErrorKind
from contracts.streams import DEAD, DEAD_LETTERS, covers
from kit.errors import NATS, Refusal, Unavailable
from kit.messaging.broker import Broker
from kit.messaging.reader import stream_reader

PAGE = 100
"""So many letters are held at once at most, and no more than `_PAGE_BYTES` of them."""
_PAGE_BYTES = 4 << 20
_SECONDS = 5.0
_TRIES = 3
_OF_NO_MORE_USE = ("nats-", "dead-")
"""Headers that were about the message's first life, or about its end."""
_WRONG_LAST_SEQUENCE = 10071
_FULL = frozenset({10077, 10047, 10023})
"""nats-server: the stream is at its limit, or the server has no room for it."""

_NO_STREAM = 10059
_NO_MESSAGE = frozenset({10037, 10043, 10057})
"""nats-server: no message found, or one could not be deleted because there is none."""


class DeadLetterRecord(NamedTuple):
    """A message that could not be handled, with its story in its headers."""

    id: int
    """Its sequence in `DEAD_LETTERS`: it never changes, and no other letter ever gets it."""
    subject: str
    """Under which it was sent at first."""
    headers: Mapping[str, str]
    body: bytes

    @property
    def stream(self) -> str:
        """Where it came from; empty where it does not say."""
        return self.headers.get("Dead-Stream", "")

    @property
    def reason(self) -> str:
        """The name of the error that it failed with."""
        return self.headers.get("Dead-Reason", "")

    @property
    def own_headers(self) -> dict[str, str]:
        """Those that its sender gave it: with its request, its trace and, of an event, its id."""
        return {name: value for name, value in self.headers.items() if not name.lower().startswith(_OF_NO_MORE_USE)}


class ReplayRefused(Refusal):
    """A letter cannot be sent again as things are; it stays where it is."""

    kind = ErrorKind.CONFLICT
    slug = "stays-dead"

    def __init__(self, letter: DeadLetterRecord, why: str) -> None:
        super().__init__(f"Letter {letter.id} ({letter.subject}) stays: {why}.")


class StreamFull(Refusal):
    """The stream that letters shall return to takes nothing more; they stay where they are."""

    kind = ErrorKind.UNAVAILABLE
    slug = "stream-full"

    def __init__(self, stream: str) -> None:
        super().__init__(f"The stream {stream} is full and takes nothing now; what is left stays where it is.")


class DeadLetterQueue:
    """The dead letters of one NATS. Raises `Unavailable` when it cannot tell."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._known: dict[str, StreamConfig | None] = {}

    async def last(self) -> int:
        """Return the id of the newest letter: what is sent again and fails again gets a higher one."""
        with _reachable():
            return int((await self._broker.jetstream.stream_info(DEAD_LETTERS.name)).state.last_seq)

    async def get(self, letter_id: int) -> DeadLetterRecord | None:
        """Return one letter; None where there is none with this id."""
        with _reachable():
            try:
                found = await self._broker.jetstream.get_msg(DEAD_LETTERS.name, letter_id)  # the leader answers
            except NotFoundError as error:
                if error.err_code == _NO_STREAM:
                    raise
                return None
        return DeadLetterRecord(letter_id, _bare(found.subject or ""), found.headers or {}, found.data or b"")

    async def pages(
        self, *, subject: str = ">", reason: str = "", after: int = 0, to: int | None = None
    ) -> AsyncGenerator[list[DeadLetterRecord], None]:
        """Yield the letters from `after`, exclusive, to `to`, inclusive (the newest one now), oldest first, in pages.

        `subject` may have NATS' wildcards; `reason` is compared without regard to case, and none is every one.
        """
        to = await self.last() if to is None else to
        with _reachable():
            async with stream_reader(self._broker.client) as read:
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
                    if wanted := [each for each in page if each.id <= to and _is_for(reason, each)]:
                        yield wanted

    async def replay(self, letter: DeadLetterRecord) -> None:
        """Send a letter to where it came from; returns when it is on disk there. Twice makes one message.

        The message's id is that of the letter and not its first one, which the stream may still know and would pass
        over. In a work queue nothing else may wait under its subject, unless it says the same.

        Raises `ReplayRefused` where this letter cannot go, and `StreamFull` where none can now.
        """
        stream = await self._stream_of(letter)
        headers = letter.own_headers | {
            "Nats-Msg-Id": f"replay.{letter.id}.{letter.headers.get('Nats-Msg-Id', '')}",
            "Nats-Expected-Stream": letter.stream,
        }
        if stream.retention == RetentionPolicy.WORK_QUEUE:
            headers["Nats-Expected-Last-Subject-Sequence"] = "0"
        for _ in range(_TRIES):
            with _reachable():
                try:
                    await self._broker.jetstream.publish(letter.subject, letter.body, timeout=_SECONDS, headers=headers)
                except APIError as error:
                    if error.err_code in _FULL:
                        raise StreamFull(letter.stream) from error
                    if error.err_code != _WRONG_LAST_SEQUENCE:
                        raise ReplayRefused(letter, error.description or str(error)) from error
                else:
                    return
                try:
                    waiting = await self._broker.jetstream.get_last_msg(letter.stream, letter.subject)
                except NotFoundError:
                    continue  # what waited there has been handled since
            if (waiting.data or b"") == letter.body:
                return  # sent again before, by one who did not come to remove the letter
            break
        raise ReplayRefused(letter, "another message waits under its subject")

    async def remove(self, letter: DeadLetterRecord) -> bool:
        """Let go of a letter for good; False where somebody else did before."""
        # Not by `delete_msg`, which has the server overwrite the message on disk: 9 ms a letter, and one at a time.
        asked = json.dumps({"seq": letter.id, "no_erase": True}).encode()
        with _reachable():
            subject = f"$JS.API.STREAM.MSG.DELETE.{DEAD_LETTERS.name}"
            answer = json.loads((await self._broker.client.request(subject, asked, timeout=_SECONDS)).data)
            if error := answer.get("error"):
                if error.get("err_code") not in _NO_MESSAGE:
                    APIError.from_error(error)
                return False
        return True

    async def _stream_of(self, letter: DeadLetterRecord) -> StreamConfig:
        if not letter.stream:
            raise ReplayRefused(letter, "it does not say from which stream it came")
        if letter.stream not in self._known:
            with _reachable():
                try:
                    self._known[letter.stream] = (await self._broker.jetstream.stream_info(letter.stream)).config
                except NotFoundError:
                    self._known[letter.stream] = None
        config = self._known[letter.stream]
        if config is None:
            raise ReplayRefused(letter, f"the stream {letter.stream} is missing")
        # Else a service that answers requests under this subject would get it.
        if not any(covers(pattern, letter.subject) for pattern in config.subjects or ()):
            raise ReplayRefused(letter, f"the stream {letter.stream} does not take its subject")
        return config


@contextmanager
def _reachable() -> Iterator[None]:
    """Say in our words that the server did not do it."""
    try:
        yield
    except NotFoundError as error:
        raise Unavailable(f"stream {DEAD_LETTERS.name}") from error
    except NatsError as error:
        raise Unavailable(NATS) from error


def _letter(message: Msg) -> DeadLetterRecord:
    headers = dict(message.headers or {})
    number, subject = int(headers.pop("Nats-Sequence")), headers.pop("Nats-Subject")
    for added in ("Nats-Stream", "Nats-Time-Stamp", "Nats-Num-Pending", "Nats-Last-Sequence"):
        headers.pop(added, None)
    return DeadLetterRecord(number, _bare(subject), headers, message.data)


def _bare(subject: str) -> str:
    return subject.removeprefix(DEAD)


def _is_for(reason: str, letter: DeadLetterRecord) -> bool:
    return not reason or reason.casefold() == letter.reason.casefold()
