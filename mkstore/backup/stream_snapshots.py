"""Snapshots of JetStream streams, and streams made from them: the part of JetStream's API that nats-py lacks.

The protocol is that of `$JS.API.STREAM.SNAPSHOT` and `$JS.API.STREAM.RESTORE`, as NATS's API reference and its ADR
"JetStream Stream Backup and Restore V2" describe it. Chunks of an archive arrive on a subject that the request names,
each with a reply subject for its acknowledgement unless it is the last, and an empty message ends them. A restore is
the same in the other direction. The bytes of the archive need not be understood here.
"""

import json
from collections.abc import AsyncGenerator, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from nats.aio.client import Client
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError

from contracts import nats_errors
from contracts.logins import JETSTREAM_API
from kit.errors import CannotStart

CHUNK_BYTES = 128 * 1024
_REQUEST_TIMEOUT = 5.0
_CHUNK_TIMEOUT = 10.0
"""Seconds until the next chunk, or the acknowledgement of one; the server itself gives up after five."""
_FINISH_TIMEOUT = 600.0
"""Seconds that the server may need after the last chunk."""
_SUCCESS = "204"


class BackupFailed(CannotStart):
    """A backup or a restore cannot be done; the message is one sentence for the operator."""


class StreamInUse(BackupFailed):
    """The stream that is to be restored exists."""


@dataclass(frozen=True)
class Snapshot:
    """A snapshot that is on its way: configuration and state of the stream as the server returned them.

    It has the messages up to `last_sequence`, also if others are stored meanwhile. Of those, a message that is removed
    while the snapshot is made may be missing.
    """

    name: str
    config: dict[str, Any]
    state: dict[str, Any]
    _subscription: Subscription
    _client: Client
    _reconnects: int

    @property
    def last_sequence(self) -> int:
        """The last sequence of the stream when the snapshot began."""
        return int(self.state["last_seq"])

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield the archive; read it at once, since the server waits 5 s for an acknowledgement at most.

        Raises `BackupFailed` if the server ends it early, or is silent.
        """
        try:
            while True:
                message = await self._subscription.next_msg(timeout=_CHUNK_TIMEOUT)
                if not message.data:
                    status = (message.headers or {}).get("Status", _SUCCESS)
                    if status != _SUCCESS:
                        text = f"{status} {(message.headers or {}).get('Description', '')}".strip()
                        raise BackupFailed(f"NATS ended the snapshot of {self.name} early: {text}.")
                    if self._client.stats["reconnects"] != self._reconnects:  # chunks of that time are lost
                        raise BackupFailed(f"The connection was lost during the snapshot of {self.name}: repeat it.")
                    return
                yield message.data
                if message.reply:
                    await self._client.publish(message.reply, b"")
        except (NatsError, TimeoutError) as error:
            raise BackupFailed(f"The snapshot of {self.name} was interrupted: {reason(error)}.") from error
        finally:
            with suppress(NatsError):
                await self._subscription.unsubscribe()


async def begin_snapshot(client: Client, stream: str) -> Snapshot:
    """Ask for a snapshot of a stream without its consumers; the chunks arrive from now on.

    Raises `BackupFailed`.
    """
    inbox = client.new_inbox()
    subscription = await client.subscribe(inbox)
    try:
        request = {"deliver_subject": inbox, "no_consumers": True, "chunk_size": CHUNK_BYTES}
        reply = await _request(client, f"STREAM.SNAPSHOT.{stream}", request)
    except BaseException:
        await subscription.unsubscribe()
        raise
    return Snapshot(stream, reply["config"], reply["state"], subscription, client, client.stats["reconnects"])


async def restore_stream(client: Client, config: dict[str, Any], state: dict[str, Any], chunks: Iterable[bytes]) -> int:
    """Make a stream from a snapshot, without consumers; return its last sequence.

    Raises `StreamInUse` if the stream exists, also what an interrupted restore has left of it, and `BackupFailed`.
    """
    name = config["name"]
    begun = await _request(client, f"STREAM.RESTORE.{name}", {"config": config, "state": state})
    upload = begun["deliver_subject"]
    try:
        for chunk in chunks:
            reply = await client.request(upload, chunk, timeout=_CHUNK_TIMEOUT)
            if reply.data:
                _checked(name, json.loads(reply.data))
        done = _checked(name, json.loads((await client.request(upload, b"", timeout=_FINISH_TIMEOUT)).data))
    except (NatsError, TimeoutError) as error:
        raise BackupFailed(f"The restore of {name} was interrupted: {reason(error)}.") from error
    return int(done["state"]["last_seq"])


async def _request(client: Client, verb: str, body: dict[str, Any]) -> dict[str, Any]:
    name = verb.rpartition(".")[2]
    try:
        reply = await client.request(f"{JETSTREAM_API}.{verb}", json.dumps(body).encode(), timeout=_REQUEST_TIMEOUT)
    except (NatsError, TimeoutError) as error:
        raise BackupFailed(f"NATS does not answer a request about {name}: use the operator's login.") from error
    return _checked(name, json.loads(reply.data))


def _checked(name: str, reply: dict[str, Any]) -> dict[str, Any]:
    """Return a reply of JetStream's API. Raises `BackupFailed` if it is an error."""
    if error := reply.get("error"):
        kind = StreamInUse if error.get("err_code") == nats_errors.NAME_IN_USE else BackupFailed
        raise kind(f"NATS refuses the stream {name}: {error.get('description', 'no reason is given')}.")
    return reply


def reason(error: Exception) -> str:
    """Return what a message can quote of an error of nats-py."""
    return getattr(error, "description", None) or str(error) or type(error).__name__
