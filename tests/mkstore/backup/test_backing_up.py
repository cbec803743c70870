"""The order of a backup, which is what makes it complete."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.aio.client import Client

from contracts.streams import DEAD_LETTERS, REVOCATIONS
from mkstore.backup.backing_up import back_up
from mkstore.backup.manifest import verified
from mkstore.backup.stream_snapshots import BackupFailed
from tests.support.two_stores import StoreServers, two_stores

_SNAPSHOT = "$JS.API.STREAM.SNAPSHOT."
_LOCKED = "SELECT count(*) FROM pg_locks WHERE mode = 'ShareLock' AND relation = 'outbox'::regclass"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreServers]:
    with two_stores(tmp_path_factory.mktemp("stores")) as (source, _):
        yield source


class Watched:
    """A client that awaits `before` with the name of the stream before it asks for a snapshot."""

    def __init__(self, client: Client, before: Callable[[str], Awaitable[None]]) -> None:
        self._client = client
        self._before = before

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def request(self, subject: str, *arguments: Any, **options: Any) -> Any:
        if subject.startswith(_SNAPSHOT):
            await self._before(subject.removeprefix(_SNAPSHOT))
        return await self._client.request(subject, *arguments, **options)


@pytest.fixture
async def client(store: StoreServers) -> AsyncIterator[Client]:
    client = await nats.connect(store.nats.admin_url)
    yield client
    await client.close()


async def test_commands_come_first_and_events_while_the_outboxes_are_locked(
    store: StoreServers, client: Client, tmp_path: Path
) -> None:
    order: list[tuple[str, bool]] = []

    async def record(stream: str) -> None:
        locks = [(await store.query(service, _LOCKED))[0] for service in store.databases]
        order.append((stream, all(locks)))

    await back_up(Watched(client, record), store.databases, tmp_path / "backup")  # type: ignore[arg-type]
    assert order == [
        ("PAYMENT_COMMANDS", False),
        ("KEYED_PAYMENT_COMMANDS", False),
        ("USER_EVENTS", True),
        ("PAYMENT_EVENTS", True),
        ("DEAD_LETTERS", False),
        ("REVOCATIONS", False),
        ("PUBLIC_KEYS", False),
    ]
    assert len(verified(tmp_path / "backup").files) == 9


async def test_replay_of_a_dead_letter_ends_a_backup(store: StoreServers, client: Client, tmp_path: Path) -> None:
    """Its command may be too late for the snapshot of the commands, and its recording for the dump."""
    letter = await client.jetstream().publish("dead.user.created", b"{}")

    async def replay(stream: str) -> None:
        if stream == DEAD_LETTERS.name:
            await client.jetstream().delete_msg(DEAD_LETTERS.name, letter.seq)

    with pytest.raises(BackupFailed, match="Dead letters were replayed or discarded during the backup: repeat it"):
        await back_up(Watched(client, replay), store.databases, tmp_path / "backup")  # type: ignore[arg-type]
    assert list((tmp_path / "backup").iterdir()) == []


async def test_replaced_state_is_in_the_backup(store: StoreServers, client: Client, tmp_path: Path) -> None:
    """A snapshot that began before has neither the old message, which is removed, nor the new one."""
    asked = []

    async def replace(stream: str) -> None:
        if stream == REVOCATIONS.name:
            asked.append(stream)

    class Replacing(Watched):
        async def request(self, subject: str, *arguments: Any, **options: Any) -> Any:
            reply = await super().request(subject, *arguments, **options)
            if subject == _SNAPSHOT + REVOCATIONS.name and len(asked) == 1:
                await client.jetstream().publish("revocations.user.u1", b"new")
            return reply

    await client.jetstream().publish("revocations.user.u1", b"old")
    manifest = await back_up(Replacing(client, replace), store.databases, tmp_path / "backup")  # type: ignore[arg-type]
    (part,) = [each for each in manifest.streams if each.name == REVOCATIONS.name]
    assert (len(asked), part.state["messages"], part.state["last_seq"]) == (2, 1, 2)
    verified(tmp_path / "backup")
