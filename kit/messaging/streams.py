"""JetStream streams and consumers: create, update, check, and find pending commands."""

import asyncio
from collections.abc import Iterable
from uuid import UUID

from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import NotFoundError
from pydantic import ValidationError
from structlog.stdlib import get_logger

from contracts.base import AnyCommand
from contracts.streams import DEAD, DEAD_LETTERS, Stream
from kit.errors import NATS, Unavailable

log = get_logger(__name__)

_FIND_TIMEOUT = 1.0
_REPAIR = "a running service repairs this within seconds; if not, start the service or check its log."


def stream_config(stream: Stream, replicas: int = 1) -> StreamConfig:
    """Return the JetStream configuration of `stream`."""
    return StreamConfig(
        name=stream.name,
        subjects=list(stream.subjects),
        retention=RetentionPolicy.WORK_QUEUE if stream.retention == "workqueue" else RetentionPolicy.LIMITS,
        discard=DiscardPolicy.NEW if stream.discard == "new" else DiscardPolicy.OLD,
        max_age=stream.max_age.total_seconds() if stream.max_age else 0,
        max_bytes=stream.max_bytes or -1,
        max_msg_size=stream.max_message_bytes,
        duplicate_window=stream.duplicate_window.total_seconds(),
        storage=StorageType.FILE,
        num_replicas=replicas,
        allow_direct=True,
        allow_atomic=True,
    )


async def provision(jetstream: JetStreamContext, streams: Iterable[Stream], replicas: int = 1) -> None:
    """Create missing streams and update those that differ. Raises nats-py's error if the server refuses an update."""
    for stream in streams:
        wanted = stream_config(stream, replicas)
        try:
            current = (await jetstream.stream_info(stream.name)).config
        except NotFoundError:
            await jetstream.add_stream(wanted)
        else:
            if differences := _differences(wanted, current):
                log.warning("stream updated", stream=stream.name, differences=differences)
                await jetstream.update_stream(wanted)


def _differences(wanted: StreamConfig, current: StreamConfig) -> dict[str, str]:
    pairs = {name: (value, getattr(current, name)) for name, value in vars(wanted).items() if value is not None}
    return {name: f"{old} -> {new}" for name, (new, old) in pairs.items() if new != old}


async def check(jetstream: JetStreamContext, streams: Iterable[Stream], replicas: int = 1) -> None:
    """Check that each stream exists with the right configuration. Raises `RuntimeError` with its name if not."""
    for stream in streams:
        try:
            current = (await jetstream.stream_info(stream.name)).config
        except NotFoundError:
            raise RuntimeError(f"stream {stream.name} is missing: {_REPAIR}") from None
        if differences := _differences(stream_config(stream, replicas), current):
            raise RuntimeError(f"stream {stream.name} has the wrong configuration {differences}: {_REPAIR}")


async def check_consumer(jetstream: JetStreamContext, stream: str, durable: str) -> None:
    """Check that the durable consumer exists. Raises `RuntimeError` if not."""
    try:
        await jetstream.consumer_info(stream, durable)
    except NotFoundError:
        raise RuntimeError(f"consumer {durable} of stream {stream} is missing: {_REPAIR}") from None


async def find(
    jetstream: JetStreamContext,
    stream: Stream,
    command: type[AnyCommand],
    command_id: UUID,
    timeout: float = _FIND_TIMEOUT,  # noqa: ASYNC109 - translated to Unavailable
) -> AnyCommand | None:
    """Return the command if it is still pending in `stream`, by a direct get of its subject; otherwise None.

    In `DEAD_LETTERS`, a dead-lettered command is pending until it is replayed or discarded. An invalid message counts
    as None. Raises `Unavailable` if JetStream does not reply within `timeout` seconds.
    """
    address = command.address_of(command_id)
    subject = f"{DEAD}{address}" if stream.name == DEAD_LETTERS.name else address
    try:
        async with asyncio.timeout(timeout):
            message = await jetstream.get_last_msg(stream.name, subject, direct=True)
        return command.model_validate_json(message.data or b"")
    except (NotFoundError, ValidationError):
        return None
    except (NatsError, TimeoutError) as error:
        raise Unavailable(NATS) from error
