"""Snapshots of streams on a real nats-server, and streams made from them."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import nats as nats_client
import pytest
from nats.aio.client import Client
from nats.js.errors import NotFoundError

from contracts.streams import PAYMENT_EVENTS
from kit.messaging.streams import stream_config
from kit.runtime.tasks import cancel_and_wait
from mkstore.backup.stream_snapshots import BackupFailed, Snapshot, StreamInUse, begin_snapshot, restore_stream
from mkstore.stack.servers import NatsServer

_NAME = PAYMENT_EVENTS.name


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[NatsServer, NatsServer]]:
    with (
        NatsServer(tmp_path_factory.mktemp("source")) as source,
        NatsServer(tmp_path_factory.mktemp("target")) as target,
    ):
        yield source, target


@asynccontextmanager
async def _connected(server: NatsServer) -> AsyncIterator[Client]:
    client = await nats_client.connect(server.admin_url)
    try:
        for name in [info.config.name or "" for info in await client.jetstream().streams_info()]:
            await client.jetstream().delete_stream(name)
        yield client
    finally:
        await client.close()


@pytest.fixture
async def source(servers: tuple[NatsServer, NatsServer]) -> AsyncIterator[Client]:
    """Return a connection to a server with an empty stream."""
    async with _connected(servers[0]) as client:
        await client.jetstream().add_stream(stream_config(PAYMENT_EVENTS))
        yield client


@pytest.fixture
async def target(servers: tuple[NatsServer, NatsServer]) -> AsyncIterator[Client]:
    """Return a connection to a server without streams."""
    async with _connected(servers[1]) as client:
        yield client


async def _store(client: Client, count: int, size: int = 10) -> None:
    # Random, since the archive is compressed.
    for number in range(count):
        headers = {"ce-id": str(number)}
        await client.jetstream().publish("payment.created", secrets.token_bytes(size), headers=headers, timeout=60)


async def _read(snapshot: Snapshot) -> list[bytes]:
    return [chunk async for chunk in snapshot.chunks()]


async def _messages(client: Client) -> list[tuple[int | None, str | None, bytes | None, dict[str, str] | None]]:
    last = (await client.jetstream().stream_info(_NAME)).state.last_seq
    stored = [await client.jetstream().get_msg(_NAME, number) for number in range(1, last + 1)]
    return [(each.seq, each.subject, each.data, each.headers) for each in stored]


async def test_restored_stream_has_the_same_messages_and_settings(source: Client, target: Client) -> None:
    await _store(source, 5)
    snapshot = await begin_snapshot(source, _NAME)
    assert await restore_stream(target, snapshot.config, snapshot.state, await _read(snapshot)) == 5
    assert await _messages(target) == await _messages(source)
    restored = (await target.jetstream().stream_info(_NAME)).config
    assert (restored.deny_purge, restored.max_age) == (True, PAYMENT_EVENTS.max_age.total_seconds())  # type: ignore[union-attr]


async def test_empty_stream_can_be_restored(source: Client, target: Client) -> None:
    snapshot = await begin_snapshot(source, _NAME)
    assert await restore_stream(target, snapshot.config, snapshot.state, await _read(snapshot)) == 0


async def test_more_chunks_than_the_window_arrive(source: Client, target: Client) -> None:
    await _store(source, 30, 500_000)
    snapshot = await begin_snapshot(source, _NAME)
    chunks = await _read(snapshot)
    assert len(chunks) > 64
    assert await restore_stream(target, snapshot.config, snapshot.state, chunks) == 30
    assert await _messages(target) == await _messages(source)


async def test_messages_stored_after_the_reply_are_left_out(source: Client, target: Client) -> None:
    """The databases may be written again as soon as NATS has replied: what follows must not be in the snapshot."""

    async def publish() -> None:
        while True:
            await _store(source, 10, 1000)

    await _store(source, 300, 1000)
    publishing = asyncio.create_task(publish())
    try:
        snapshot = await begin_snapshot(source, _NAME)
        await _store(source, 100)
        chunks = await _read(snapshot)
    finally:
        await cancel_and_wait([publishing])
    stored = (await source.jetstream().stream_info(_NAME)).state.last_seq
    restored = await restore_stream(target, snapshot.config, snapshot.state, chunks)
    assert 300 <= snapshot.last_sequence == restored < stored


async def test_existing_stream_is_not_replaced(source: Client) -> None:
    await _store(source, 1)
    snapshot = await begin_snapshot(source, _NAME)
    chunks = await _read(snapshot)
    with pytest.raises(StreamInUse, match=f"NATS refuses the stream {_NAME}: stream name already in use"):
        await restore_stream(source, snapshot.config, snapshot.state, chunks)


async def test_cut_off_archive_is_refused_and_leaves_no_stream(source: Client, target: Client) -> None:
    await _store(source, 200, 1000)
    snapshot = await begin_snapshot(source, _NAME)
    archive = b"".join(await _read(snapshot))
    with pytest.raises(BackupFailed, match="restore failed"):
        await restore_stream(target, snapshot.config, snapshot.state, [archive[:-1000]])
    with pytest.raises(NotFoundError):
        await target.jetstream().stream_info(_NAME)


async def test_interrupted_restore_can_be_repeated_after_a_deletion(source: Client, target: Client) -> None:
    class Killed(Exception):
        pass

    def first_chunks() -> Iterator[bytes]:
        yield from chunks[: len(chunks) // 2]
        raise Killed

    await _store(source, 30, 500_000)
    snapshot = await begin_snapshot(source, _NAME)
    chunks = await _read(snapshot)
    with pytest.raises(Killed):
        await restore_stream(target, snapshot.config, snapshot.state, first_chunks())
    with pytest.raises(StreamInUse):
        await restore_stream(target, snapshot.config, snapshot.state, chunks)
    await target.jetstream().delete_stream(_NAME)
    assert await restore_stream(target, snapshot.config, snapshot.state, chunks) == 30
    assert await _messages(target) == await _messages(source)


async def test_unknown_stream_is_named(source: Client) -> None:
    with pytest.raises(BackupFailed, match="NATS refuses the stream MISSING: stream not found"):
        await begin_snapshot(source, "MISSING")


async def test_lost_connection_ends_a_snapshot_with_a_sentence(source: Client) -> None:
    await _store(source, 30, 500_000)
    snapshot = await begin_snapshot(source, _NAME)
    await source.close()
    with pytest.raises(BackupFailed, match=f"The snapshot of {_NAME} was interrupted"):
        await _read(snapshot)
