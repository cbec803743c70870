"""The memory of handled commands: a stream that keeps them after they are acknowledged, purged by its owner."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from nats.js.errors import APIError
from structlog.stdlib import get_logger

from contracts.consumers import Durable
from contracts.headers import STORED_SEQUENCE
from contracts.streams import covers
from kit.errors import NATS, Unavailable
from kit.messaging.broker import Broker
from kit.messaging.nats_compat import api_subject
from kit.runtime.failpoints import AFTER_PURGE, BEFORE_PURGE, failpoint
from kit.runtime.periodic import Periodic

log = get_logger(__name__)

PURGE_INTERVAL = 5.0
"""Seconds between two purges."""
_REQUEST_TIMEOUT = 5.0


class MemoryState(NamedTuple):
    """What a memory holds now."""

    messages: int
    size: int
    """Bytes."""
    first: int
    """Sequence of the oldest message; that of the next one if there is none."""
    last: int
    """Sequence of the newest message."""
    first_time: datetime | None
    """Time of the oldest message; None if there is none."""
    last_time: datetime | None
    """Time of the newest message; None if there is none."""


class CommandMemory:
    """Purges the stream of a durable: what is older than the stream's `memory`, and the oldest beyond a limit.

    At most `max_messages` stay, and half of the messages and bytes that the stream may hold, so that the memory never
    takes the room of a new command. What the durable has not acknowledged always stays. Only the process for which
    `leads` is true purges; if two did, the second would find nothing. `interval` is in seconds, `now` a clock.
    """

    def __init__(
        self,
        broker: Broker,
        durable: Durable,
        *,
        max_messages: int,
        leads: Callable[[], bool],
        interval: float = PURGE_INTERVAL,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        if durable.stream.memory is None:
            raise ValueError(f"{durable.stream.name} is not a memory")
        self._broker = broker
        self._durable = durable
        self._stream = durable.stream.name
        self._max_age: timedelta = durable.stream.memory
        self._max_messages = max_messages
        self._leads = leads
        self._now = now
        named = get_logger(__name__, stream=self._stream)
        self.purging = Periodic(self._purge_all, interval, log=named, failure="memory not purged")
        """Background work; when it stops, the next leader continues."""

    async def describe(self) -> str:
        """Return how far back the memory reaches, for people. Raises `Unavailable` if NATS is disconnected."""
        if not self._broker.is_connected():
            raise Unavailable(NATS)
        state = await self.state()
        if state.first_time is None:
            return "0 commands are remembered."
        return f"{state.messages:,} commands are remembered, back to {state.first_time:%Y-%m-%dT%H:%M:%SZ}."

    async def state(self) -> MemoryState:
        """Return what the memory holds. Raises nats-py's errors."""
        return _state(await self._request(f"STREAM.INFO.{self._stream}"))

    async def purge(self) -> int:
        """Purge once; return the number of purged messages. Raises nats-py's errors."""
        consumer = await self._request(f"CONSUMER.INFO.{self._stream}.{self._durable.name}")
        if not self._delivers_everything(consumer["config"]):
            log.warning("memory not purged: the consumer does not deliver every command", consumer=self._durable.name)
            return 0
        # Read before the state of the stream: it can only grow.
        floor = int(consumer["ack_floor"]["stream_seq"])
        info = await self._request(f"STREAM.INFO.{self._stream}")
        state = _state(info)
        until = min(max(await self._first_young(state), _first_within(state, *self._room(info["config"]))), floor + 1)
        if until <= state.first:
            return 0
        failpoint(BEFORE_PURGE)
        reply = await self._request(f"STREAM.PURGE.{self._stream}", {"seq": until})  # what is before this sequence
        failpoint(AFTER_PURGE)
        log.info("memory purged", stream=self._stream, messages=reply["purged"], until=until)
        return int(reply["purged"])

    async def _purge_all(self) -> None:
        while self._leads() and self._broker.is_connected() and await self.purge():
            pass  # the sizes of messages differ, so the first cut may be too small

    def _delivers_everything(self, config: Mapping[str, Any]) -> bool:
        """Return whether all messages up to the consumer's acknowledgement floor are acknowledged."""
        subject = config.get("filter_subject") or ">"
        all_subjects = all(covers(subject, each) for each in self._durable.stream.subjects)
        return config["deliver_policy"] == "all" and config["ack_policy"] == "explicit" and all_subjects

    def _room(self, config: Mapping[str, Any]) -> tuple[int, float]:
        """Return the messages and the bytes that may stay."""
        messages = config["max_msgs"] // 2 if config["max_msgs"] > 0 else self._max_messages
        size = config["max_bytes"] / 2 if config["max_bytes"] > 0 else float("inf")
        return min(self._max_messages, messages), size

    async def _first_young(self, state: MemoryState) -> int:
        """Return the sequence of the first message that is not too old; the next one after the last if all are."""
        oldest = self._now() - self._max_age
        if state.first_time is None or state.last_time is None or state.first_time >= oldest:
            return state.first
        if state.last_time < oldest:
            return state.last + 1
        body = json.dumps({"start_time": oldest.isoformat()}).encode()
        reply = await self._broker.client.request(self._api(f"DIRECT.GET.{self._stream}"), body, _REQUEST_TIMEOUT)
        # A replica that lags behind may not have the message yet.
        return int((reply.headers or {}).get(STORED_SEQUENCE, state.first))

    def _api(self, request: str) -> str:
        return api_subject(self._broker.jetstream, request)

    async def _request(self, api: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        # nats-py's StreamInfo has no time of the first message, and its purge reads the whole reply as a bool.
        reply = await self._broker.client.request(
            self._api(api), json.dumps(body).encode() if body else b"", _REQUEST_TIMEOUT
        )
        content: dict[str, Any] = json.loads(reply.data)
        if error := content.get("error"):
            APIError.from_error(error)
        return content


def _state(info: Mapping[str, Any]) -> MemoryState:
    state = info["state"]
    times = [_time(state[name]) if state["messages"] else None for name in ("first_ts", "last_ts")]
    return MemoryState(state["messages"], state["bytes"], state["first_seq"], state["last_seq"], *times)


def _time(text: str) -> datetime:
    """Return a time of nats-server, which has up to nine digits after the seconds."""
    seconds, _, fraction = text.removesuffix("Z").partition(".")
    return datetime.fromisoformat(f"{seconds}.{fraction[:6]:0<6}+00:00")


def _first_within(state: MemoryState, messages: int, size: float) -> int:
    """Return the sequence from which on at most these messages and bytes are stored, if all have the same size."""
    if not state.messages:
        return state.first
    each = state.size / state.messages
    keep = min(messages, int(size / each))
    return max(state.first, state.last + 1 - keep)
