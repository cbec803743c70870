"""`mkstore backup` and `mkstore restore` on real servers, without services."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy
from typer.testing import CliRunner, Result

from contracts.consumers import PAYMENTS_OPEN_PAYER, durables
from contracts.streams import DEAD_LETTERS, STREAMS, USER_EVENTS
from kit.messaging.nats_compat import client_of
from mkstore.backup.manifest import MANIFEST
from mkstore.cli.main import app
from tests.support.two_stores import StoreServers, two_stores

_NAMES = {stream.name for stream in STREAMS}
_INSERT = "INSERT INTO inbox (consumer, message_id) VALUES ('c', $1)"


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[StoreServers, StoreServers]]:
    with two_stores(tmp_path_factory.mktemp("stores")) as both:
        yield both


@pytest.fixture(scope="module")
def source(stores: tuple[StoreServers, StoreServers]) -> StoreServers:
    """Return a store with a row in `inbox`, two events and a dead letter."""
    asyncio.run(_write(stores[0]))
    return stores[0]


@pytest.fixture
def target(stores: tuple[StoreServers, StoreServers]) -> StoreServers:
    """Return an empty store."""
    stores[1].clear()
    return stores[1]


@pytest.fixture(scope="module")
def folder(source: StoreServers, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a backup."""
    folder = tmp_path_factory.mktemp("backups") / "first"
    assert _run(source, "backup", folder).exit_code == 0
    return folder


async def _write(store: StoreServers) -> None:
    await store.query("payments", _INSERT, "m1")
    async with store.jetstream() as jetstream:
        for subject in ("user.created", "user.updated", "dead.user.created"):
            await jetstream.publish(subject, b"{}")
        await _acknowledge_one(jetstream)


async def _acknowledge_one(jetstream: JetStreamContext) -> None:
    consumer = await jetstream.pull_subscribe("user.created", durable=PAYMENTS_OPEN_PAYER.name, stream=USER_EVENTS.name)
    (message,) = await consumer.fetch(1, timeout=5)
    await message.ack_sync()


def _run(store: StoreServers, command: str, folder: Path, *options: str, **environment: str) -> Result:
    return CliRunner().invoke(app, [command, str(folder), *options], env=store.environment | environment)


def _refusal(done: Result) -> str:
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    return done.stderr.strip()


def _restored(store: StoreServers) -> tuple[list[object], dict[str, int]]:
    rows = asyncio.run(store.query("payments", "SELECT message_id FROM inbox ORDER BY 1"))
    return rows, asyncio.run(store.messages())


def _is_untouched(store: StoreServers) -> bool:
    """Return whether the databases have no tables, and NATS no streams."""
    tables = [
        asyncio.run(store.query(service, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"))
        for service in store.databases
    ]
    return not any(tables) and not asyncio.run(store.messages())


def test_restored_store_has_rows_and_messages(folder: Path, target: StoreServers) -> None:
    done = _run(target, "restore", folder, "--json")
    assert done.exit_code == 0, done.output
    assert {row["part"] for row in json.loads(done.stdout)} == {"users", "payments", *_NAMES}
    messages = dict.fromkeys(_NAMES, 0) | {USER_EVENTS.name: 2, DEAD_LETTERS.name: 1}
    assert _restored(target) == (["m1"], messages)


def test_consumers_read_from_the_first_message(folder: Path, target: StoreServers) -> None:
    async def pending() -> dict[str, int]:
        async with target.jetstream() as jetstream:
            infos = [await jetstream.consumer_info(each.stream.name, each.name) for each in durables()]
            assert {info.config.ack_policy for info in infos} == {AckPolicy.EXPLICIT}
            return {info.name: info.num_pending for info in infos if info.num_pending}

    assert _run(target, "restore", folder).exit_code == 0
    assert asyncio.run(pending()) == {"payments-open_payer": 1, "payments-change_payer": 1}


def test_empty_schemas_and_streams_are_replaced(folder: Path, target: StoreServers) -> None:
    target.fill()
    assert _run(target, "restore", folder).exit_code == 0
    assert _restored(target)[0] == ["m1"]


def test_rows_are_never_replaced(folder: Path, target: StoreServers) -> None:
    target.fill()
    asyncio.run(target.query("payments", _INSERT, "own"))
    assert _refusal(_run(target, "restore", folder)) == (
        "The database of payments is not empty: inbox has rows. A restore needs an empty store, such as `mkstore up "
        "--home NEW --only nats,postgres`."
    )
    assert _restored(target)[0] == ["own"]


def test_messages_are_never_replaced(folder: Path, target: StoreServers) -> None:
    async def publish() -> None:
        async with target.jetstream() as jetstream:
            await jetstream.publish("payment.created", b"{}")

    target.fill()
    asyncio.run(publish())
    assert _refusal(_run(target, "restore", folder)).startswith("The stream PAYMENT_EVENTS is not empty: a restore")
    assert asyncio.run(target.messages())["PAYMENT_EVENTS"] == 1


def test_restore_is_refused_a_second_time(folder: Path, target: StoreServers) -> None:
    assert _run(target, "restore", folder).exit_code == 0
    assert "is not empty" in _refusal(_run(target, "restore", folder))


def test_interrupted_restore_is_repeated(folder: Path, target: StoreServers) -> None:
    async def interrupt(backup: str) -> None:
        for service, url in target.databases.items():
            name = url.rpartition("/")[2]
            text = f"mkstore restores the backup {backup}; it has not finished"
            await target.query(service, f"COMMENT ON DATABASE {name} IS '{text}'")
        await target.query("payments", _INSERT, f"half of {backup}")
        async with target.jetstream() as jetstream:
            await jetstream.publish("user.created", b"half of a stream")

    target.fill()
    asyncio.run(interrupt("another"))
    assert "is not empty" in _refusal(_run(target, "restore", folder))
    asyncio.run(interrupt(json.loads((folder / MANIFEST).read_text())["id"]))
    assert _run(target, "restore", folder).exit_code == 0
    rows, messages = _restored(target)
    assert (rows, messages[USER_EVENTS.name]) == (["m1"], 2)
    comment = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database()"
    assert asyncio.run(target.query("payments", comment)) == [None]


def test_running_service_is_named(folder: Path, target: StoreServers) -> None:
    async def restore() -> Result:
        async with target.jetstream() as jetstream:

            async def reply(message: Msg) -> None:
                await message.respond(b'{"name": "users"}')

            await client_of(jetstream).subscribe("$SRV.PING", cb=reply)
            return await asyncio.to_thread(_run, target, "restore", folder)

    assert _refusal(asyncio.run(restore())) == "users must not run during a restore: stop all services."
    assert _is_untouched(target)


def test_damaged_backup_changes_nothing(folder: Path, target: StoreServers, tmp_path: Path) -> None:
    copy = _copy(folder, tmp_path)
    (copy / "payments.dump").write_bytes((copy / "payments.dump").read_bytes()[:-1])
    assert "payments.dump differs from the manifest" in _refusal(_run(target, "restore", copy))
    assert _is_untouched(target)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"nats": "99.0.0"}, "may not read snapshots of NATS 99.0.0"),
        ({"postgres": 99}, "is older than that of the backup: use 99"),
        ({"databases": []}, "have other databases: payments, users"),
    ],
)
def test_backup_of_a_newer_version_changes_nothing(
    folder: Path, target: StoreServers, tmp_path: Path, change: dict[str, object], sentence: str
) -> None:
    copy = _copy(folder, tmp_path)
    manifest = json.loads((copy / MANIFEST).read_text())
    (copy / MANIFEST).write_text(json.dumps(manifest | change))
    assert sentence in _refusal(_run(target, "restore", copy))
    assert _is_untouched(target)


def test_unknown_schema_changes_nothing(folder: Path, target: StoreServers, tmp_path: Path) -> None:
    copy = _copy(folder, tmp_path)
    manifest = json.loads((copy / MANIFEST).read_text())
    manifest["databases"][0]["revision"] = "9999"
    (copy / MANIFEST).write_text(json.dumps(manifest))
    assert "has revision 9999, which this version of mkstore does not know" in _refusal(_run(target, "restore", copy))
    assert _is_untouched(target)


def test_missing_databases_are_named(folder: Path, target: StoreServers) -> None:
    target.drop()
    assert "users_db, the database of users, does not exist: create it" in _refusal(_run(target, "restore", folder))


def test_backup_into_a_used_folder_is_refused(source: StoreServers, folder: Path) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert _refusal(_run(source, "backup", folder)) == f"{folder} is not empty: name a new folder for each backup."
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_failed_backup_leaves_no_file(target: StoreServers, tmp_path: Path) -> None:
    sentence = "The stream DEAD_LETTERS cannot be read: stream not found."
    assert _refusal(_run(target, "backup", tmp_path / "failed")) == sentence
    assert list((tmp_path / "failed").iterdir()) == []


def test_wrong_password_of_the_database_is_named(source: StoreServers, tmp_path: Path) -> None:
    done = _run(source, "backup", tmp_path / "failed", DB_PASSWORD="wrong")
    assert "PostgreSQL cannot be used for the database of users: password authentication failed" in _refusal(done)


def test_folder_that_cannot_be_made_is_named(source: StoreServers, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert _refusal(_run(source, "backup", tmp_path / "file" / "backup")).endswith("cannot be used: Not a directory.")


def _copy(folder: Path, parent: Path) -> Path:
    copy = parent / "copy"
    copy.mkdir()
    for path in folder.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    return copy
