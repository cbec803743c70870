"""A restore that is interrupted at any stream, and repeated."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.aio.client import Client

from contracts.streams import STREAMS, USER_EVENTS
from kit.ops.provisioning import Sizes
from kit.ops.revisions import known_revisions
from mkstore.backup.backing_up import back_up
from mkstore.backup.restoring import Target, restore
from mkstore.backup.stream_snapshots import BackupFailed
from mkstore.services import SERVICES
from tests.support.two_stores import StoreServers, two_stores

_REVISIONS = {spec.name: known_revisions(spec.migrations.parent / "migrations") for spec in SERVICES if spec.migrations}
_INSERT = "INSERT INTO inbox (consumer, message_id) VALUES ('c', $1)"


class Killed(Exception):
    """The process that restores has ended."""


class Interrupted:
    """A client that ends with the first chunk of a stream."""

    def __init__(self, client: Client, stream: str) -> None:
        self._client = client
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def request(self, subject: str, *arguments: Any, **options: Any) -> Any:
        if subject.startswith(f"$JS.SNAPSHOT.RESTORE.{self._stream}."):
            raise Killed
        return await self._client.request(subject, *arguments, **options)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[StoreServers, StoreServers]]:
    with two_stores(tmp_path_factory.mktemp("stores")) as both:
        yield both


@pytest.fixture
def target(stores: tuple[StoreServers, StoreServers]) -> StoreServers:
    """Return a store without tables and streams."""
    stores[1].clear()
    return stores[1]


@pytest.fixture
async def folder(stores: tuple[StoreServers, StoreServers], tmp_path: Path) -> Path:
    """Return the folder of a backup with one row and one event more than the last one."""
    source = stores[0]
    await source.query("payments", _INSERT, str(tmp_path))
    client = await nats.connect(source.nats.admin_url)
    await client.jetstream().publish("user.created", b"{}")
    await back_up(client, source.databases, tmp_path / "backup")
    await client.close()
    return tmp_path / "backup"


@pytest.fixture
async def client(target: StoreServers) -> AsyncIterator[Client]:
    client = await nats.connect(target.nats.admin_url)
    yield client
    await client.close()


@pytest.mark.parametrize("stream", [STREAMS[0].name, USER_EVENTS.name, STREAMS[-1].name])
async def test_restore_can_be_repeated_after_an_interruption(
    stores: tuple[StoreServers, StoreServers], target: StoreServers, folder: Path, client: Client, stream: str
) -> None:
    first = Target(Interrupted(client, stream), target.databases, _REVISIONS, Sizes())  # type: ignore[arg-type]
    with pytest.raises(Killed):
        await restore(first, folder)
    await restore(Target(client, target.databases, _REVISIONS, Sizes()), folder)
    assert await target.messages() == await stores[0].messages()
    rows = "SELECT message_id FROM inbox ORDER BY 1"
    assert await target.query("payments", rows) == await stores[0].query("payments", rows)


async def test_interrupted_restore_is_not_continued_with_another_backup(
    stores: tuple[StoreServers, StoreServers], target: StoreServers, folder: Path, client: Client, tmp_path: Path
) -> None:
    with pytest.raises(Killed):
        await restore(
            Target(Interrupted(client, USER_EVENTS.name), target.databases, _REVISIONS, Sizes()),  # type: ignore[arg-type]
            folder,
        )
    source = await nats.connect(stores[0].nats.admin_url)
    await back_up(source, stores[0].databases, tmp_path / "another")
    await source.close()
    with pytest.raises(BackupFailed, match="is not empty"):
        await restore(Target(client, target.databases, _REVISIONS, Sizes()), tmp_path / "another")
