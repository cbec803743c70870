"""JetStream: making the streams and consumers what they must be, and looking for what waits in them."""

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

_DEADLINE = 1.0
_REPAIR = "a service that runs mends that within seconds; if none does, start it, else look at what it logs."


def stream_config(stream: Stream, replicas: int = 1) -> StreamConfig:
    """Write `stream` as the server takes it."""
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
    """Make each stream that is missing, and mend each that differs; what the server cannot mend raises its error."""
    for stream in streams:
        wanted = stream_config(stream, replicas)
        try:
            found = (await jetstream.stream_info(stream.name)).config
        except NotFoundError:
            await jetstream.add_stream(wanted)
        else:
            if differences := _differences(wanted, found):
                log.warning("a stream is changed to what it must be", stream=stream.name, differences=differences)
                await jetstream.update_stream(wanted)


def _differences(wanted: StreamConfig, found: StreamConfig) -> dict[str, str]:
    pairs = {name: (value, getattr(found, name)) for name, value in vars(wanted).items() if value is not None}
    return {name: f"{old} -> {new}" for name, (new, old) in pairs.items() if new != old}


async def check(jetstream: JetStreamContext, streams: Iterable[Stream], replicas: int = 1) -> None:
    """Raise unless each stream is there and as it must be; `RuntimeError` names the one that is not."""
    for stream in streams:
        try:
            found = (await jetstream.stream_info(stream.name)).config
        except NotFoundError:
            raise RuntimeError(f"stream {stream.name} is missing: {_REPAIR}") from None
        if differences := _differences(stream_config(stream, replicas), found):
            raise RuntimeError(f"stream {stream.name} is not as it must be {differences}: {_REPAIR}")


async def check_consumer(jetstream: JetStreamContext, stream: str, durable: str) -> None:
    """Raise `RuntimeError` unless the durable consumer is there."""
    try:
        await jetstream.consumer_info(stream, durable)
    except NotFoundError:
        raise RuntimeError(f"consumer {durable} of stream {stream} is missing: {_REPAIR}") from None


async def find(
    jetstream: JetStreamContext,
    stream: Stream,
    command: type[AnyCommand],
    command_id: UUID,
    deadline: float = _DEADLINE,
) -> AnyCommand | None:
    """Look whether a command still waits in `stream`, by a direct get of its subject; None when it does not.

    In `DEAD_LETTERS` waits what was given up, until somebody sends it again or discards it. What cannot be read is no
    command. Raises `Unavailable` within `deadline` seconds when JetStream cannot tell.
    """
    address = command.address_of(command_id)
    subject = f"{DEAD}{address}" if stream.name == DEAD_LETTERS.name else address
    try:
        async with asyncio.timeout(deadline):
            message = await jetstream.get_last_msg(stream.name, subject, direct=True)
        return command.model_validate_json(message.data or b"")
    except (NotFoundError, ValidationError):
        return None
    except (NatsError, TimeoutError) as error:
        raise Unavailable(NATS) from error
