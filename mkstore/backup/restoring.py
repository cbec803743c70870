"""Restore of a backup into an empty store, whose services do not run; it can be repeated after an interruption."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.errors import NotFoundError

from contracts.consumers import durables
from contracts.shards import Shards
from kit.messaging import streams
from kit.messaging.discovery import request_all
from kit.messaging.streams import ProvisioningRefused
from kit.ops.provisioning import Sizes
from mkstore.backup import database_dumps
from mkstore.backup.database_dumps import connected
from mkstore.backup.manifest import Manifest, StreamPart, chunks_of, verified
from mkstore.backup.stream_snapshots import BackupFailed, StreamInUse, reason, restore_stream

_MARK = "mkstore restores the backup {}; it has not finished"
_DISCOVERY_TIMEOUT, _DISCOVERY_PAUSE = 3.0, 1.0
_VERSION_PARTS = 2
_ATTEMPTS = 3
"""Attempts to restore a stream."""


class Target(NamedTuple):
    """The store to restore into."""

    client: Client
    """A connection with an operator's login."""
    databases: Mapping[str, str]
    """Address of each database, by the name of its service; each exists."""
    revisions: Mapping[str, Collection[str]]
    """The revisions of each service's schema that this code knows."""
    sizes: Sizes


async def restore(target: Target, folder: Path) -> Manifest:
    """Restore a backup; return its manifest.

    The databases get their contents and each stream its messages; consumers are created anew, so they read from the
    first message and drop what is handled. Raises `BackupFailed`, before anything is written if the backup is damaged
    or of a newer version, a service runs, or the store is not empty. After an interruption it can be repeated with the
    same backup.
    """
    manifest = verified(folder)
    await _check_versions(target, manifest)
    program = database_dumps.program("pg_restore", max(manifest.postgres, manifest.pg_dump))
    await _check_stopped(target.client)
    mark = _MARK.format(manifest.id)
    if not await _was_interrupted(target, mark):
        await _check_streams(target.client, manifest)
    await _set_marks(target, mark)
    for database in manifest.databases:
        address = target.databases[database.service]
        await database_dumps.load(program, database.service, address, folder / database.file.name)
    for stream in manifest.streams:
        await _restore_stream(target, folder, stream)
    await _provision(target)
    await _set_marks(target, None)
    return manifest


async def _check_versions(target: Target, manifest: Manifest) -> None:
    running, needed = str(target.client.connected_server_version), manifest.nats
    if _as_numbers(running) < _as_numbers(needed):
        raise BackupFailed(f"NATS {running} may not read snapshots of NATS {needed}: use a newer nats-server.")
    if missing := sorted({each.service for each in manifest.databases} ^ set(target.databases)):
        raise BackupFailed(f"The backup and this version of mkstore have other databases: {', '.join(missing)}.")
    for database in manifest.databases:
        if database.revision not in target.revisions[database.service]:
            raise BackupFailed(
                f"The schema of {database.service} has revision {database.revision}, which this version of mkstore "
                f"does not know: use mkstore {manifest.mkstore} or a newer one."
            )
        major = await database_dumps.server_version(database.service, target.databases[database.service])
        if major < manifest.postgres:
            raise BackupFailed(f"PostgreSQL {major} is older than that of the backup: use {manifest.postgres}.")


async def _check_stopped(client: Client) -> None:
    replies = await request_all(client, "PING", timeout=_DISCOVERY_TIMEOUT, idle_timeout=_DISCOVERY_PAUSE)
    if running := sorted({str(reply.get("name")) for reply in replies}):
        raise BackupFailed(f"{' and '.join(running)} must not run during a restore: stop all services.")


async def _was_interrupted(target: Target, mark: str) -> bool:
    """Return whether an earlier restore of the same backup was interrupted.

    Raises `BackupFailed` if a database has rows, unless that restore has written them.
    """
    marked = False
    for service, url in target.databases.items():
        async with connected(service, url) as connection:
            if await database_dumps.mark(connection) == mark:
                marked = True
            elif full := await database_dumps.full_tables(connection):
                raise BackupFailed(
                    f"The database of {service} is not empty: {', '.join(full)} {'has' if len(full) == 1 else 'have'} "
                    "rows. A restore needs an empty store, such as `mkstore up --home NEW --only nats,postgres`."
                )
    return marked


async def _check_streams(client: Client, manifest: Manifest) -> None:
    for stream in manifest.streams:
        try:
            state = (await client.jetstream().stream_info(stream.name)).state
        except NotFoundError:
            continue
        except (NatsError, TimeoutError) as error:
            raise BackupFailed(f"The stream {stream.name} cannot be read: {reason(error)}.") from error
        if state.last_seq:
            raise BackupFailed(
                f"The stream {stream.name} is not empty: a restore needs an empty store, such as "
                "`mkstore up --home NEW --only nats,postgres`."
            )


async def _set_marks(target: Target, text: str | None) -> None:
    for service, url in target.databases.items():
        async with connected(service, url) as connection:
            await database_dumps.set_mark(connection, text)


async def _restore_stream(target: Target, folder: Path, stream: StreamPart) -> None:
    config = stream.config | {"num_replicas": target.sizes.replicas}
    for attempt in range(1, _ATTEMPTS + 1):
        await _remove(target.client, stream.name)
        try:
            last = await restore_stream(target.client, config, stream.state, chunks_of(folder / stream.file.name))
        except StreamInUse:  # a running `mkstore up` has provisioned it in between
            if attempt == _ATTEMPTS:
                raise
        else:
            break
    if last != int(stream.state["last_seq"]):
        raise BackupFailed(f"{stream.name} ends at message {last} after the restore: repeat it.")


async def _remove(client: Client, stream: str) -> None:
    """Remove an empty stream, or what an interrupted restore has left."""
    try:
        await client.jetstream().delete_stream(stream)
    except NotFoundError:
        pass
    except (NatsError, TimeoutError) as error:
        raise BackupFailed(f"The stream {stream} cannot be removed before its restore: {reason(error)}.") from error


async def _provision(target: Target) -> None:
    """Create the consumers, which read from the first message, and bring the streams to this version."""
    jetstream = target.client.jetstream()
    try:
        await streams.provision(jetstream, target.sizes.streams(), target.sizes.replicas)
        await streams.provision_consumers(jetstream, durables(Shards(target.sizes.shards)))
    except ProvisioningRefused as error:
        raise BackupFailed(
            f"NATS refuses the {error.change.kind} {error.change.name} ({error}): repeat the restore."
        ) from error
    except (NatsError, TimeoutError) as error:
        raise BackupFailed(f"The consumers cannot be created: {reason(error)}; repeat the restore.") from error


def _as_numbers(version: str) -> tuple[int, ...]:
    """Return major and minor version."""
    return tuple(int(part) for part in version.split(".")[:_VERSION_PARTS] if part.isdigit())
