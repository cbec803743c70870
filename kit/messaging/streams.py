"""JetStream streams and consumers: what they must be, created and updated by an operator, checked by a service."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Literal, NamedTuple

from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig, DiscardPolicy, RePublish, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import APIError, NotFoundError
from structlog.stdlib import get_logger

from contracts import nats_errors
from contracts.consumers import Durable
from contracts.streams import STORED, Stream
from kit.asyncapi.reader import wildcard_subject

log = get_logger(__name__)

ACK_WAIT = 10.0
"""Seconds after which an unacknowledged message is redelivered: the process that had it is dead."""

_PENDING_REQUESTS = 10
"""Pull requests whose messages may be unacknowledged: those that wait for a retry delay no others."""
_REPAIR = "run `mkstore provision`."


class Change(NamedTuple):
    """What was changed on the server: a stream or a durable consumer; `detail` lists the settings that differed."""

    kind: Literal["stream", "consumer"]
    name: str
    action: Literal["created", "updated"]
    detail: str = ""


class Holder(NamedTuple):
    """A consumer that takes the messages of a work queue which another one is meant to take."""

    stream: str
    name: str
    messages: int
    """Messages that it has still to deliver, or that it has delivered and that are not acknowledged."""


class ProvisioningRefused(NatsError):
    """The server refuses to create or update a stream or consumer; the message is the server's.

    `holder` is the consumer that is in the way, if there is one.
    """

    def __init__(self, change: Change, error: APIError, holder: Holder | None = None) -> None:
        super().__init__(error.description or str(error))
        self.change = change
        self.code = error.err_code
        self.holder = holder


def stream_config(stream: Stream, replicas: int = 1) -> StreamConfig:
    """Return the JetStream configuration of `stream`."""
    return StreamConfig(
        name=stream.name,
        subjects=list(stream.subjects),
        retention=RetentionPolicy.WORK_QUEUE if stream.retention == "workqueue" else RetentionPolicy.LIMITS,
        discard=DiscardPolicy.NEW if stream.discard == "new" else DiscardPolicy.OLD,
        max_age=stream.max_age.total_seconds() if stream.max_age else 0,
        max_bytes=stream.max_bytes or -1,
        max_msgs=stream.max_messages or -1,
        max_msgs_per_subject=1 if stream.compacted else -1,
        max_msg_size=stream.max_message_bytes,
        duplicate_window=stream.duplicate_window.total_seconds(),
        storage=StorageType.FILE,
        num_replicas=replicas,
        allow_direct=True,
        allow_atomic=True,
        republish=RePublish(src=">", dest=f"{STORED}>") if stream.republish else None,
        deny_delete=stream.append_only,
        deny_purge=stream.append_only,
    )


def consumer_config(durable: Durable, ack_wait: float = ACK_WAIT) -> ConsumerConfig:
    """Return the JetStream configuration of a durable consumer; `ack_wait` is in seconds."""
    return ConsumerConfig(
        durable_name=durable.name,
        filter_subject=wildcard_subject(durable.subject),
        ack_wait=ack_wait,
        max_ack_pending=_PENDING_REQUESTS * durable.at_once,
        max_deliver=-1,
    )


async def provision(jetstream: JetStreamContext, streams: Iterable[Stream], replicas: int = 1) -> list[Change]:
    """Create missing streams and update those that differ; return the changes.

    Raises `ProvisioningRefused` if the server refuses one, and nats-py's error if it does not reply.
    """
    changes = []
    for stream in streams:
        wanted = stream_config(stream, replicas)
        try:
            current = (await jetstream.stream_info(stream.name)).config
        except NotFoundError:
            change = Change("stream", stream.name, "created")
        else:
            if not (differences := _differences(wanted, current, always=("republish",))):
                continue
            change = Change("stream", stream.name, "updated", _text(differences))
            log.warning("stream updated", stream=stream.name, differences=differences)
        try:
            await (jetstream.add_stream if change.action == "created" else jetstream.update_stream)(wanted)
        except APIError as error:
            raise ProvisioningRefused(change, error) from error
        changes.append(change)
    return changes


async def provision_consumers(jetstream: JetStreamContext, durables: Iterable[Durable]) -> list[Change]:
    """Create missing durable consumers and update those that differ; return the changes.

    Raises `ProvisioningRefused` if the server refuses one, and nats-py's error if it does not reply.
    """
    changes = []
    for durable in durables:
        wanted = consumer_config(durable)
        try:
            current = (await jetstream.consumer_info(durable.stream.name, durable.name)).config
        except NotFoundError:
            change = Change("consumer", durable.name, "created")
        else:
            if not (differences := _differences(wanted, current)):
                continue
            change = Change("consumer", durable.name, "updated", _text(differences))
        try:
            await jetstream.add_consumer(durable.stream.name, replace(wanted, name=durable.name))
        except APIError as error:
            raise ProvisioningRefused(change, error, await _holder(jetstream, durable, error)) from error
        changes.append(change)
    return changes


async def _holder(jetstream: JetStreamContext, durable: Durable, error: APIError) -> Holder | None:
    """Return the consumer for which the server refuses `durable`, such as the same one under an earlier name."""
    if error.err_code != nats_errors.CONSUMER_NOT_UNIQUE:
        return None
    subject = consumer_config(durable).filter_subject
    for info in await jetstream.consumers_info(durable.stream.name):
        if info.config.filter_subject == subject:
            messages = (info.num_pending or 0) + (info.num_ack_pending or 0)
            return Holder(durable.stream.name, info.name, messages)
    return None


def _differences(wanted: Any, current: Any, always: tuple[str, ...] = ()) -> dict[str, str]:
    """Return the settings that differ; those that are None are the server's choice, except the ones in `always`."""
    named = {name: value for name, value in vars(wanted).items() if value is not None or name in always}
    pairs = {name: (value, getattr(current, name)) for name, value in named.items()}
    return {name: f"{old} -> {new}" for name, (new, old) in pairs.items() if new != old}


def _text(differences: Mapping[str, str]) -> str:
    return ", ".join(f"{name}: {change}" for name, change in differences.items())


async def check(jetstream: JetStreamContext, streams: Iterable[Stream], replicas: int = 1) -> None:
    """Check that each stream exists with the right configuration. Raises `RuntimeError` with its name if not."""
    for stream in streams:
        try:
            current = (await jetstream.stream_info(stream.name)).config
        except NotFoundError:
            raise RuntimeError(f"stream {stream.name} is missing: {_REPAIR}") from None
        differences = _differences(stream_config(stream, replicas), current, always=("republish",))
        if stream.append_only:
            differences.pop("max_bytes", None)  # the operator's choice
        if differences:
            text = _text(differences)
            raise RuntimeError(f"stream {stream.name} has the wrong configuration ({text}): {_REPAIR}")


async def check_consumer(jetstream: JetStreamContext, stream: str, wanted: ConsumerConfig) -> None:
    """Check that a durable consumer exists with this configuration. Raises `RuntimeError` with its name if not."""
    name = wanted.durable_name or ""
    try:
        current = (await jetstream.consumer_info(stream, name)).config
    except NotFoundError:
        raise RuntimeError(f"consumer {name} of stream {stream} is missing: {_REPAIR}") from None
    if differences := _differences(wanted, current):
        text = _text(differences)
        raise RuntimeError(f"consumer {name} of stream {stream} has the wrong configuration ({text}): {_REPAIR}")
