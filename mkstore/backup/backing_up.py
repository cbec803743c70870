"""Backup of a running store: the streams of commands, then one moment of all databases and of the streams of events.

The order is what makes it complete; see docs/adr/0044-backup-and-restore.md.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from uuid import uuid4

from nats.aio.client import Client
from nats.errors import Error as NatsError

from contracts.shards import ALL_IN_ONE, Shards
from contracts.streams import DEAD_LETTERS, Stream, streams_of
from kit.runtime.tasks import cancel_and_wait
from mkstore.backup import database_dumps
from mkstore.backup.database_dumps import Moment, one_moment
from mkstore.backup.manifest import (
    FORMAT,
    DatabasePart,
    Manifest,
    StreamPart,
    new_folder,
    remove_files,
    write_file,
    write_manifest,
)
from mkstore.backup.stream_snapshots import BackupFailed, Snapshot, begin_snapshot, reason

_ATTEMPTS = 10
"""Snapshots of a stream of states: another one is made if a state was replaced meanwhile."""


async def back_up(
    client: Client,
    databases: Mapping[str, str],
    folder: Path,
    *,
    shards: Shards = ALL_IN_ONE,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Manifest:
    """Write a backup of the store into a new or empty folder; return its manifest.

    `client` has an operator's login; `databases` has the address of each database by the name of its service or shard.
    The store may be running. Everything that was answered before the call is in the backup. Raises `BackupFailed`, and
    leaves no file then.
    """
    async with _emptied_on_failure(folder):
        return await _Backup(client, databases, folder, shards, now).make()


@contextlib.asynccontextmanager
async def _emptied_on_failure(folder: Path) -> AsyncIterator[None]:
    try:
        new_folder(folder)
    except OSError as error:
        raise BackupFailed(f"{folder} cannot be used: {error.strerror}.") from error
    try:
        yield
    except BaseException as error:
        remove_files(folder)
        if isinstance(error, OSError):
            raise BackupFailed(f"{folder} cannot be written: {error.strerror}.") from error
        raise


class _Backup:
    def __init__(
        self,
        client: Client,
        databases: Mapping[str, str],
        folder: Path,
        shards: Shards,
        now: Callable[[], datetime],
    ) -> None:
        self._every = streams_of(shards.all)
        self._client = client
        self._databases = databases
        self._folder = folder
        self._now = now
        self._streams: list[StreamPart] = []

    async def make(self) -> Manifest:
        began = self._now()
        postgres = [await database_dumps.server_version(*each) for each in self._databases.items()]
        pg_dump = database_dumps.program("pg_dump", max(postgres))
        letters = await self._removed_letters()
        await self._write_streams([stream for stream in self._every if _is_of_commands(stream)])
        async with one_moment(self._databases) as moment:
            writing = await self._begin_events(moment)
            try:
                dumps = [await self._dump(pg_dump, service, held) for service, held in moment.held.items()]
                self._streams += await asyncio.gather(*writing)
            finally:
                await cancel_and_wait(writing)
        await self._write_streams([DEAD_LETTERS])
        for stream in self._every:
            if stream.compacted:
                await self._write_states(stream)
        if await self._removed_letters() != letters:
            raise BackupFailed("Dead letters were replayed or discarded during the backup: repeat it.")
        manifest = Manifest(
            format=FORMAT,
            id=uuid4().hex,
            mkstore=metadata.version("mkstore"),
            nats=str(self._client.connected_server_version),
            postgres=max(postgres),
            pg_dump=pg_dump.major,
            began=began,
            finished=self._now(),
            databases=tuple(dumps),
            streams=tuple(self._streams),
        )
        write_manifest(self._folder, manifest)
        return manifest

    async def _begin_events(self, moment: Moment) -> list[asyncio.Task[StreamPart]]:
        """Begin the snapshots of the events, let the services write again, and return the work that is left.

        The outboxes are locked until NATS has fixed the last sequence of each snapshot: milliseconds.
        """
        snapshots = [await begin_snapshot(self._client, stream.name) for stream in self._every if stream.append_only]
        writing = [asyncio.create_task(self._write(snapshot)) for snapshot in snapshots]
        await moment.release()
        return writing

    async def _write_streams(self, streams: Sequence[Stream]) -> None:
        for stream in streams:
            self._streams.append(await self._write(await begin_snapshot(self._client, stream.name)))

    async def _write_states(self, stream: Stream) -> None:
        """Write a stream that keeps one message per subject: a replaced message is in no snapshot that began before."""
        for _ in range(_ATTEMPTS):
            part = await self._write(await begin_snapshot(self._client, stream.name))
            if await self._last_sequence(stream) == int(part.state["last_seq"]):
                self._streams.append(part)
                return
            (self._folder / part.file.name).unlink()
        raise BackupFailed(f"{stream.name} changed during each of {_ATTEMPTS} snapshots: repeat the backup.")

    async def _write(self, snapshot: Snapshot) -> StreamPart:
        file = await write_file(self._folder, f"{snapshot.name}.stream", snapshot.chunks())
        return StreamPart(name=snapshot.name, file=file, config=snapshot.config, state=snapshot.state)

    async def _dump(self, program: database_dumps.Program, service: str, held: database_dumps.Held) -> DatabasePart:
        file = await write_file(self._folder, f"{service}.dump", database_dumps.dump(program, held))
        return DatabasePart(service=service, file=file, revision=held.revision)

    async def _last_sequence(self, stream: Stream) -> int:
        return (await self._state(stream))[1]

    async def _removed_letters(self) -> int:
        """Return the number of dead letters that were ever removed."""
        messages, last_sequence = await self._state(DEAD_LETTERS)
        return last_sequence - messages

    async def _state(self, stream: Stream) -> tuple[int, int]:
        """Return the number of messages and the last sequence of a stream. Raises `BackupFailed`."""
        try:
            state = (await self._client.jetstream().stream_info(stream.name)).state
        except (NatsError, TimeoutError) as error:
            raise BackupFailed(f"The stream {stream.name} cannot be read: {reason(error)}.") from error
        return state.messages, state.last_seq


def _is_of_commands(stream: Stream) -> bool:
    """Return whether the messages of a stream are removed once they are in a database."""
    return stream.retention == "workqueue" or stream.memory is not None
