"""Follows a stream without a consumer: core NATS for what it republishes, and direct gets for what was missed."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from datetime import UTC, datetime

from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import StreamInfo
from structlog.stdlib import get_logger

from contracts.headers import STORED_STREAM
from contracts.streams import STORED, Stream
from kit.messaging.nats_compat import client_of
from kit.messaging.reader import read_range, sequence_of, stream_reader

log = get_logger(__name__)

CHECK_INTERVAL = 1.0
"""Seconds between two looks at the last sequence of a quiet stream: its last message may have been lost."""
_RETRY_DELAY = 0.5


class Follower:
    """Hands over each message of a republished stream once and in order, from now on or since a time.

    Core NATS loses what is sent while the connection is down or the process is slow. A gap in the sequence shows that,
    and so does the last sequence of a stream from which nothing has arrived for `check_interval` seconds; what is
    missing is then read from the stream. A message that the stream no longer keeps is skipped with a warning.
    `up_to_date` is called when everything that is stored was handed over: at the start, and after each such check.
    """

    def __init__(
        self,
        jetstream: JetStreamContext,
        stream: Stream,
        hand_over: Callable[[Msg], Awaitable[None]],
        *,
        since: datetime | None = None,
        up_to_date: Callable[[], None] | None = None,
        check_interval: float = CHECK_INTERVAL,
    ) -> None:
        self._client = client_of(jetstream)
        self._jetstream = jetstream
        self._stream = stream
        self._hand_over = hand_over
        self._since = since
        self._up_to_date = up_to_date or (lambda: None)
        self._check_interval = check_interval
        self._created: datetime | None = None
        self._in_order = asyncio.Lock()
        self._arrived = 0
        """The highest sequence that arrived before the position was known."""
        self.position: int | None = None
        """The sequence of the last message that was handed over or lies before the start; None before that is known."""
        self.started = asyncio.Event()
        """Set once every message that is stored from now on will be handed over."""

    async def run(self, is_over: Callable[[], bool]) -> None:
        """Follow the stream until `is_over`, which is asked after each interval, or until cancelled."""
        subscriptions = [
            await self._client.subscribe(f"{STORED}{subject}", cb=self._receive) for subject in self._stream.subjects
        ]
        try:
            await self._begin()
            while not is_over():
                before = self.position
                await asyncio.sleep(self._check_interval)
                if self.position == before and self._client.is_connected:
                    try:
                        await self._check()
                    except Exception:  # the next check tries once more: the process must not miss all later messages
                        log.exception("check of a stream failed", stream=self._stream.name)
        finally:
            self.position = None  # what still arrives belongs to the next follower
            for subscription in subscriptions:
                with suppress(NatsError):
                    await subscription.unsubscribe()

    async def _begin(self) -> None:
        """Find the position to start at; the subscriptions exist before, so that nothing is missed in between."""
        while True:
            try:
                info = await self._jetstream.stream_info(self._stream.name)
                start = await self._start(info)
                break
            except NatsError as error:
                log.warning("stream not readable", stream=self._stream.name, reason=str(error) or type(error).__name__)
                await asyncio.sleep(_RETRY_DELAY)
        async with self._in_order:
            self._created, self.position = info.created, start
            self.started.set()
            if await self._fill(max(info.state.last_seq, self._arrived)):
                self._up_to_date()

    async def _start(self, info: StreamInfo) -> int:
        """Return the sequence before the first message to hand over."""
        if self._since is None:
            return info.state.last_seq
        begin = {"start_time": self._since.astimezone(UTC).isoformat().replace("+00:00", "Z"), "batch": 1}
        async with stream_reader(self._jetstream) as read:
            first = await read(self._stream.name, begin)
        return (sequence_of(first[0]) or 0) - 1 if first else info.state.last_seq

    async def _receive(self, message: Msg) -> None:
        if (message.headers or {}).get(STORED_STREAM) != self._stream.name:
            log.warning("message of another stream dropped", stream=self._stream.name, subject=message.subject)
            return
        sequence = sequence_of(message)
        async with self._in_order:
            if sequence is None or self.position is None or sequence <= self.position:
                self._arrived = max(self._arrived, sequence or 0)
                return  # from before the start, or filled already
            if sequence == self.position + 1 or await self._fill(sequence - 1):
                self.position = sequence
                await self._hand_over(message)

    async def _check(self) -> None:
        """Look for messages that were lost, or for a stream that was created anew."""
        async with self._in_order:  # before the question, so that no newer message moves the position meanwhile
            try:
                info = await self._jetstream.stream_info(self._stream.name)
            except NatsError:
                return  # the health check reports a missing stream
            if info.created != self._created or info.state.last_seq < (self.position or 0):
                log.warning("stream was created anew: all of it is read", stream=self._stream.name)
                self._created, self.position = info.created, 0
            if await self._fill(info.state.last_seq):
                self._up_to_date()

    async def _fill(self, to: int) -> bool:
        """Hand over the stored messages up to `to`; return False if they cannot be read now."""
        after, count = self.position or 0, 0
        if to <= after:
            return True
        try:
            stored = read_range(self._jetstream, self._stream.name, after=after, to=to)
            async with aclosing(stored) as messages:
                async for message in messages:
                    self.position, count = sequence_of(message), count + 1
                    await self._hand_over(message)
        except NatsError as error:
            reason = str(error) or type(error).__name__
            log.warning("missed messages cannot be read yet", stream=self._stream.name, reason=reason)
            return False
        self.position = to
        if (missing := to - after - count) and not self._stream.compacted:
            log.warning("messages skipped: their stream no longer keeps them", stream=self._stream.name, count=missing)
        return True
