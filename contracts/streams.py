"""The JetStream streams: names, subjects and limits."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Literal

from pydantic import BaseModel, ConfigDict

from contracts.shards import Shard, contract_subject, shard_in

DEAD = "dead."
"""Subject prefix of dead letters."""
STORED = "stored."
"""Subject prefix under which a stream publishes its messages again once they are stored."""


class Stream(BaseModel):
    """The expected configuration of a stream; if the server's differs, one of the two is wrong."""

    model_config = ConfigDict(frozen=True)

    name: str
    owner: str | None = None
    """The service that publishes its events, or consumes its commands; None for a stream that all services share."""
    subjects: tuple[str, ...]
    retention: Literal["limits", "workqueue"]
    discard: Literal["old", "new"]
    duplicate_window: timedelta
    max_age: timedelta | None = None
    max_bytes: int | None = None
    """The size at which `discard` applies."""
    max_messages: int | None = None
    """The number of messages at which `discard` applies."""
    max_message_bytes: int = 1 << 20
    compacted: bool = False
    """Whether it keeps the last message of each subject only."""
    republish: bool = False
    """Whether NATS publishes each message again as `stored.<subject>` once it is stored."""
    memory: timedelta | None = None
    """How long an acknowledged message stays, as the memory that it was handled: the owner purges the stream."""
    append_only: bool = False
    """Whether NATS refuses to delete a message and to purge the stream; that can never be revoked."""
    sharded: bool = False
    """Whether each shard has a separate one, see `of`."""

    def of(self, shard: Shard) -> "Stream":
        """Return this stream of a shard; the only shard has the stream itself, as one that is not sharded."""
        if not self.sharded or shard.count == 1:
            return self
        subjects = tuple(placed for subject in self.subjects for placed in self.places(subject, shard))
        return self.model_copy(
            update={"name": shard.suffixed(self.name, "_").upper(), "subjects": subjects, "sharded": False}
        )

    def places(self, subject: str, shard: Shard) -> tuple[str, ...]:
        """Return the subjects, with NATS wildcards, on which a shard publishes what its contract has on `subject`."""
        if not self.sharded or shard.count == 1:
            return (subject,)
        placed = shard.subject(subject)
        # An event that another shard copies has the name of that one at its end.
        return (placed, f"{placed}.*") if self.append_only else (placed,)


PAYMENT_COMMANDS = Stream(
    name="PAYMENT_COMMANDS",
    owner="payments",
    subjects=("payments.create.batch.*",),
    retention="workqueue",
    discard="new",  # never drop an old command: its payments were accepted with 202
    duplicate_window=timedelta(minutes=2),
    max_bytes=1 << 30,
    sharded=True,
)

KEYED_PAYMENT_COMMANDS = Stream(
    name="KEYED_PAYMENT_COMMANDS",
    owner="payments",
    subjects=("payments.create.key.*",),
    retention="limits",
    discard="new",  # the oldest command may not be recorded yet
    duplicate_window=timedelta(minutes=2),
    max_bytes=2 << 30,
    max_messages=2_000_000,  # payments purges from half of it on, so that keys never refuse a new payment
    memory=timedelta(hours=24),
    sharded=True,
)

USER_EVENTS = Stream(
    name="USER_EVENTS",
    owner="users",
    subjects=("user.*", "session.*", "key.*"),
    retention="limits",
    discard="new",  # what is refused waits in the outbox, and no consumer misses an event
    duplicate_window=timedelta(minutes=2),
    max_age=timedelta(days=7),
    max_bytes=1 << 30,  # `mkstore provision` takes another one from EVENT_STREAM_BYTES
    republish=True,
    append_only=True,
)

PAYMENT_EVENTS = Stream(
    name="PAYMENT_EVENTS",
    owner="payments",
    subjects=("payment.*",),
    retention="limits",
    discard="new",  # what is refused waits in the outbox, and no consumer misses an event
    duplicate_window=timedelta(minutes=2),
    max_age=timedelta(days=7),
    max_bytes=1 << 30,  # `mkstore provision` takes another one from EVENT_STREAM_BYTES
    republish=True,
    append_only=True,
    sharded=True,
)

REVOCATIONS = Stream(
    name="REVOCATIONS",
    owner="users",
    subjects=("revocations.*.*",),
    retention="limits",
    discard="old",
    duplicate_window=timedelta(minutes=2),
    max_age=timedelta(hours=1),  # the longest life of an access token
    compacted=True,
    republish=True,
)

PUBLIC_KEYS = Stream(
    name="PUBLIC_KEYS",
    owner="users",
    subjects=("public_keys.current",),
    retention="limits",
    discard="old",
    duplicate_window=timedelta(minutes=2),
    max_bytes=1 << 20,
    compacted=True,
    republish=True,
)

DEAD_LETTERS = Stream(
    name="DEAD_LETTERS",
    subjects=(f"{DEAD}>",),
    retention="limits",
    discard="new",
    duplicate_window=timedelta(minutes=10),
    max_bytes=1 << 30,
    max_message_bytes=(1 << 20) + (1 << 16),  # the original message and the headers of the failure
)

STREAMS = (
    *(PAYMENT_COMMANDS, KEYED_PAYMENT_COMMANDS, USER_EVENTS, PAYMENT_EVENTS),
    *(REVOCATIONS, PUBLIC_KEYS, DEAD_LETTERS),
)


def owned_by(service: str) -> tuple[Stream, ...]:
    """Return the streams that belong to a service."""
    return tuple(stream for stream in STREAMS if stream.owner == service)


def stream_of(subject: str) -> Stream:
    """Return the stream that stores `subject`, which may contain `{name}` parts and the name of a shard.

    Raises `KeyError` if there is none.
    """
    wanted = contract_subject(subject)
    for stream in STREAMS:
        if any(covers(pattern, wanted) for pattern in stream.subjects):
            return stream.of(shard_in(subject))
    raise KeyError(f"no stream keeps {subject}")


def streams_of(shards: Iterable[Shard], streams: Iterable[Stream] = STREAMS) -> tuple[Stream, ...]:
    """Return all of these streams: a sharded one once for each of the shards."""
    return tuple(dict.fromkeys(stream.of(shard) for stream in streams for shard in shards))


def is_sharded(subject: str) -> bool:
    """Return whether messages on a subject, which is that of a contract, go to one shard."""
    owner = subject.partition(".")[0]
    return any(each.partition(".")[0] == owner for stream in STREAMS if stream.sharded for each in stream.subjects)


def covers(pattern: str, subject: str) -> bool:
    """Return whether a subject with NATS wildcards covers another one."""
    parts, wanted = subject.split("."), pattern.split(".")
    if wanted[-1] == ">":
        return len(parts) >= len(wanted) and parts[: len(wanted) - 1] == wanted[:-1]
    return len(parts) == len(wanted) and all(each in {"*", part} for each, part in zip(wanted, parts, strict=True))
